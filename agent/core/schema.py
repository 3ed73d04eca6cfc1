"""Words to say JSON schemas and OpenAPI operations with."""

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
ANYTHING: Final[Schema] = {"type": "object"}


def fields(**properties: Schema) -> Schema:
    """An object with exactly these; a name that ends in _ may be missing."""
    required = [name for name in properties if not name.endswith("_")]
    return {
        "type": "object",
        "properties": {name.rstrip("_"): schema for name, schema in properties.items()},
        "required": required,
        "additionalProperties": False,
    }


def array(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def mapping(item: Schema) -> Schema:
    return {"type": "object", "additionalProperties": item}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def operation(
    summary: str, answers: dict[int, str], query: dict[str, str] | None = None, body: str = "", path: dict[str, str] | None = None
) -> dict[str, Any]:
    """answers: status to the name of its schema, or to the content types of a text, separated by commas. query, path: its parameters."""
    made: dict[str, Any] = {"summary": summary, "responses": {}}
    for status, schema in answers.items():
        content: Schema = {"application/json": {"schema": ref(schema)}}
        if "/" in schema:
            content = {kind: {"schema": TEXT} for kind in schema.split(",")}
        made["responses"][str(status)] = {"description": schema, "content": content}
    parameters: list[dict[str, Any]] = []
    for key, told in (query or {}).items():
        parameters.append({"name": key, "in": "query", "description": told, "schema": TEXT})
    for key, told in (path or {}).items():
        parameters.append({"name": key, "in": "path", "required": True, "description": told, "schema": TEXT})
    if parameters:
        made["parameters"] = parameters
    if body:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(body)}}}
    return made
