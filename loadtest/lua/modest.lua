-- A modest rate: each connection waits 8 ms before its next request.
dofile(os.getenv("LOADTEST_LUA") .. "/report.lua")
delay = function() return 8 end
