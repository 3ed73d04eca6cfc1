-- A body of 1 KiB with every request.
dofile(os.getenv("LOADTEST_LUA") .. "/report.lua")
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
