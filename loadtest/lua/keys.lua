-- Puts of 64 octets, and reads, of 1,000 keys in turn: LOADTEST_API is etcd's JSON gateway or ours, LOADTEST_OP put or get.
-- LOADTEST_SALT keeps clients that run side by side on keys of their own.
dofile(os.getenv("LOADTEST_LUA") .. "/report.lua")
local api, op, salt = os.getenv("LOADTEST_API"), os.getenv("LOADTEST_OP"), os.getenv("LOADTEST_SALT") or "0"
local KEYS = 1000
local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  local out = {}
  for at = 1, #text, 3 do
    local a, b, c = text:byte(at, at + 2)
    local number = a * 65536 + (b or 0) * 256 + (c or 0)
    for place = 3, 0, -1 do
      local digit = math.floor(number / 64 ^ place) % 64
      out[#out + 1] = digits:sub(digit + 1, digit + 1)
    end
    if not c then out[#out] = "=" end
    if not b then out[#out - 1] = "=" end
  end
  return table.concat(out)
end

local requests, at = {}, 0

function init(args)
  local value = string.rep("v", 64)
  for number = 1, KEYS do
    local key = string.format("bench/%s/%04d", salt, number)
    if api == "etcd" and op == "put" then
      wrk.headers["Content-Type"] = "application/json"
      requests[number] = wrk.format("POST", "/v3/kv/put", nil, string.format('{"key":"%s","value":"%s"}', base64(key), base64(value)))
    elseif api == "etcd" then
      wrk.headers["Content-Type"] = "application/json"
      requests[number] = wrk.format("POST", "/v3/kv/range", nil, string.format('{"key":"%s"}', base64(key)))
    elseif op == "put" then
      wrk.headers["Content-Type"] = "application/octet-stream"
      requests[number] = wrk.format("PUT", "/v1/kv/" .. key, nil, value)
    else
      requests[number] = wrk.format("GET", "/v1/kv/" .. key)
    end
  end
end

function request()
  at = at % KEYS + 1
  return requests[at]
end
