-- The globals of a script. Runs once for each interpreter, before any script, with what the server provides.
--
-- Tables that scripts share (the globals, redis, string, ...) are read-only in Redis. Stock Lua has no such tables, so
-- scripts get faces: empty tables that read through to the real ones and refuse to be written. Functions that bypass
-- metatables are wrapped, so that a face cannot be told from what is behind it, and nothing behind it can be reached.
--
-- Every wrapper keeps the name of what it wraps in a local of that name: Lua's messages name functions by the
-- variable they are called through. None looks at a global.

local native = ...
local G = native.globals
local type, rawget, rawset, rawequal, next, pairs = G.type, G.rawget, G.rawset, G.rawequal, G.next, G.pairs
local setmetatable, getmetatable, select, error = G.setmetatable, G.getmetatable, G.select, G.error
local pcall, xpcall, unpack = G.pcall, G.xpcall, G.unpack
local loadstring, collectgarbage = G.loadstring, G.collectgarbage
local readonly, refuse, fail, caught, undeclared = native.readonly, native.refuse, native.fail, native.caught, native.undeclared
local byte, concat = G.string.byte, G.table.concat
local floor, ceil = G.math.floor, G.math.ceil

-- face -> real table, face -> what getmetatable says
local reals = setmetatable({}, { __mode = "k" })
local metas = setmetatable({}, { __mode = "k" })

local function protect(real, shown)
  local face = setmetatable({}, { __index = real, __newindex = readonly, __metatable = false })
  reals[face] = real
  metas[face] = shown
  return face
end

------------------------------------------------------------------------------------------------------ bypasses

G.next = function(t, k)
  return next(reals[t] or t, k)
end

G.pairs = function(...)
  local real = reals[(...)]
  if real then
    local copy = {}
    for k, v in pairs(real) do copy[k] = v end
    return pairs(copy)
  end
  return pairs(...)
end

G.rawget = function(t, k)
  return rawget(reals[t] or t, k)
end

G.rawset = function(t, k, v)
  if reals[t] then refuse() end
  return rawset(t, k, v)
end

G.setmetatable = function(t, meta)
  if reals[t] then refuse() end
  return setmetatable(t, meta)
end

G.getmetatable = function(...)
  local t = ...
  if reals[t] then return metas[t] end
  return getmetatable(...)
end

local table = G.table
for _, name in G.ipairs({ "insert", "remove", "sort", "setn" }) do
  -- A local of the right name for each, so that messages name the function.
  local insert, remove, sort, setn = table.insert, table.remove, table.sort, table.setn
  local wrappers = {
    insert = function(t, ...)
      if reals[t] then refuse() end
      -- The library walks from the end to the position, however far below the beginning that is.
      if select("#", ...) > 1 and type((...)) == "number" and (...) < -65536 then
        fail("bad argument #2 to 'insert' (position out of bounds)")
      end
      return insert(t, ...)
    end,
    remove = function(t, ...)
      if reals[t] then refuse() end
      return remove(t, ...)
    end,
    sort = function(t, ...)
      if reals[t] then refuse() end
      return sort(t, ...)
    end,
    setn = function(t, ...)
      if reals[t] then refuse() end
      return setn(t, ...)
    end,
  }
  table[name] = wrappers[name]
end

-------------------------------------------------------------------------------------------------------- errors

-- Redis hands scripts the text of an error table, as versions before 7 did.
local function caught_by_pcall(ok, ...)
  if ok then return true, ... end
  local err = caught((...))
  if type(err) == "table" then
    local text = err.err
    if type(text) == "string" or type(text) == "number" then err = text end
  end
  return false, err
end

G.pcall = function(...)
  return caught_by_pcall(pcall(...))
end

G.xpcall = function(f, handler)
  return xpcall(f, function(err) return handler(caught(err)) end)
end

---------------------------------------------------------------------------------------------------- coroutines

-- Each resume takes C stack that the interpreter does not count across coroutines.
local coroutine = G.coroutine
local DEPTH_MAX = 150
-- coroutine -> how deep it runs, as of when it was last resumed; the first script runs in none, at depth 0
local depths = setmetatable({}, { __mode = "k" })

local function resumed(ok, ...)
  if ok then return true, ... end
  return false, caught((...))
end

do
  local create, resume, running = coroutine.create, coroutine.resume, coroutine.running
  local function bounded(co, ...)
    local resumer = running()
    local depth = resumer and depths[resumer] or 0
    if depth >= DEPTH_MAX then return false, "C stack overflow" end
    depths[co] = depth + 1
    return resumed(resume(co, ...))
  end
  local function unwrapped(ok, ...)
    if ok then return ... end
    local err = ...
    if type(err) == "string" then err = (native.where() or "") .. err end
    error(err, 0)
  end
  coroutine.resume = function(co, ...)
    if type(co) ~= "thread" then return resume(co, ...) end
    return bounded(co, ...)
  end
  coroutine.wrap = function(f)
    local co = create(f)
    return function(...) return unwrapped(bounded(co, ...)) end
  end
end

-------------------------------------------------------------------------------------------- code, memory, time

G.loadstring = function(s, ...)
  if type(s) == "string" and byte(s) == 27 then
    return nil, "attempt to load a precompiled chunk"
  end
  return loadstring(s, ...)
end

G.load = function(f, name)
  if type(f) ~= "function" then
    fail("bad argument #1 to 'load' (function expected, got " .. type(f) .. ")")
  end
  local pieces, bytes = {}, 0
  while true do
    local piece = f()
    if piece == nil or piece == "" then break end
    if type(piece) ~= "string" then return nil, "reader function must return a string" end
    bytes = bytes + #piece
    pieces[#pieces + 1] = piece
  end
  local text = concat(pieces)
  if byte(text) == 27 then return nil, "attempt to load a precompiled chunk" end
  return loadstring(text, name or "=(load)")
end

-- The collector serves all scripts: one cannot stop or tune it.
local TUNING = { stop = true, restart = true, setpause = true, setstepmul = true }
G.collectgarbage = function(what, ...)
  if TUNING[what] then return 0 end
  return collectgarbage(what, ...)
end

-- What C makes an int of: the low 32 bits, and none of what has more than 64.
local function int(number)
  if not number then return nil end
  if not (number >= -2^63 and number < 2^63) then return 0 end
  number = (number < 0 and ceil or floor)(number) % 2^32
  return number < 2^31 and number or number - 2^32
end

-- The arguments and the results share a C stack of 8000 slots.
local function unpackable(count, t, i, j)
  local first, last = int(native.number(i)) or 1, int(native.number(j))
  return type(t) ~= "table" or (last or #t) - first + 1 + count <= 8000
end

G.unpack = function(...)
  if not unpackable(select("#", ...), ...) then fail("too many results to unpack") end
  return unpack(...)
end

do
  local string = G.string
  local rep, find, match, gmatch, gsub = string.rep, string.find, string.match, string.gmatch, string.gsub
  local REP_BYTES_MAX = 512 * 1024 * 1024
  -- The matcher recurses once for an item of the pattern.
  local PATTERN_BYTES_MAX = 4096

  local function check(pattern)
    if type(pattern) == "string" and #pattern > PATTERN_BYTES_MAX then fail("pattern too complex") end
  end

  string.rep = function(...)
    local s, n = ...
    local count, text = native.number(n), s
    if type(s) == "number" then text = s .. "" end
    if count and type(text) == "string" then
      if text == "" then return "" end
      if #text * count > REP_BYTES_MAX then fail("resulting string too large") end
    end
    return rep(...)
  end
  string.find = function(...)
    local _, pattern, _, plain = ...
    if not plain then check(pattern) end
    return find(...)
  end
  string.match = function(...)
    local _, pattern = ...
    check(pattern)
    return match(...)
  end
  string.gmatch = function(...)
    local _, pattern = ...
    check(pattern)
    return gmatch(...)
  end
  string.gfind = string.gmatch
  string.gsub = function(...)
    local _, pattern = ...
    check(pattern)
    return gsub(...)
  end
end

------------------------------------------------------------------------------------------------- what is there

-- Without newproxy there are no finalisers, which run unseen by the kill switch; without environments of functions, no
-- way around the globals.
G.newproxy, G.getfenv, G.setfenv = nil
G.print, G.dofile, G.loadfile, G.require, G.module, G.package, G.os, G.io, G.debug = nil
G.math.random, G.math.randomseed = native.random, native.randomseed
for name, library in pairs(native.libraries) do G[name] = library end

local faces = {}
for _, name in G.ipairs({ "string", "table", "math", "coroutine", "cjson", "cmsgpack", "struct", "bit", "redis" }) do
  faces[name] = protect(G[name])
end
for name, face in pairs(faces) do G[name] = face end

local strings = getmetatable("")
strings.__index = reals[G.string]
strings.__metatable = protect({ __index = G.string })

local undeclared_meta = protect({ __index = undeclared })
setmetatable(G, { __index = undeclared, __metatable = false })

-- What a library sees while it is being loaded: only what registers functions.
local loading = setmetatable({}, { __index = undeclared, __metatable = false })
rawset(loading, "redis", protect(setmetatable(native.loading, { __index = undeclared, __metatable = false }), undeclared_meta))

local globals = { __index = G, __newindex = readonly, __metatable = false }
local face = setmetatable({}, globals)
reals[face] = G
metas[face] = undeclared_meta
rawset(G, "_G", face)

------------------------------------------------------------------------------------------------------- running

-- Scripts are called from outside, so that a script that is being stopped runs nothing here any more.
return face,
  function(is_loading)
    globals.__index = is_loading and loading or G
  end
