-- Every request with a trace context and a cookie of its own.
dofile(os.getenv("LOADTEST_LUA") .. "/report.lua")
local n = 0
local base = {}
for name, value in pairs(wrk.headers) do base[name] = value end
request = function()
  n = n + 1
  base["traceparent"] = string.format("00-4bf92f3577b34da6%016x-%016x-01", n, n)
  base["Cookie"] = string.format("session=%016x; theme=dark", n)
  return wrk.format("GET", wrk.path, base)
end
