"""The words of `agent.core.schema`, for the admin API's own descriptions."""

from agent.core.schema import ANYTHING as ANYTHING
from agent.core.schema import COUNT as COUNT
from agent.core.schema import FLAG as FLAG
from agent.core.schema import NUMBER as NUMBER
from agent.core.schema import TEXT as TEXT
from agent.core.schema import Schema as Schema
from agent.core.schema import array as array
from agent.core.schema import fields as fields
from agent.core.schema import mapping as mapping
from agent.core.schema import one_of as one_of
from agent.core.schema import operation as operation
from agent.core.schema import or_null as or_null
from agent.core.schema import ref as ref
