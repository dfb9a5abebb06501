-- The load of `make bench`: POST /write with points that look like telemetry, each timestamp used once.
--
--   wrk ... -s write.lua URL -- DATABASE POINTS FIRST_SECOND PAUSE_MS
--
-- DATABASE      where the points go
-- POINTS        in each write, at most 100
-- FIRST_SECOND  the Unix time of the first timestamp; those of thread n begin THREAD_SECONDS * n later
-- PAUSE_MS      what each connection waits before a write, on average; 0: it writes as soon as it has an answer
--
-- A request is a template in which only the middle digits of the timestamps change: one gsub, so that wrk has time for
-- more than making lines. Timestamps are SSSSSSSSSS BBBBBBB NN: second, batch within it, point within the batch.

local THREAD_SECONDS = 10
local BATCHES_A_SECOND = 10000000
local TEMPLATES = 60 -- as many as there are series

local versions = { "2.0.4", "2.1.0", "2.1.1", "2.2.0-rc1" }
local systems = { "linux", "macos", "windows" }
local languages = { "de", "en", "es", "fr", "ja" }

local threads = {}

function setup(thread)
  thread:set("thread_number", #threads)
  threads[#threads + 1] = thread
end

local function line(number, point)
  return string.format(
    "backup_run,lang=%s,os=%s,version=%s duration_seconds=%.3f,files=%di @%02d\n",
    languages[number % #languages + 1],
    systems[number % #systems + 1],
    versions[number % #versions + 1],
    12 + number * 0.137,
    100000 + number * 37,
    point
  )
end

local function template(database, points, number)
  local lines = {}
  for point = 0, points - 1 do
    lines[#lines + 1] = line(number + point, point)
  end
  local body = table.concat(lines)
  local length = #body + points * 16 -- each @ becomes 17 digits
  return string.format(
    "POST /write?db=%s&precision=ns HTTP/1.1\r\nHost: influxdb\r\nContent-Type: text/plain; charset=utf-8\r\n"
      .. "Content-Length: %d\r\n\r\n%s",
    database,
    length,
    body
  )
end

local templates = {}
local second, batch, next_template = 0, 0, 0

function init(arguments)
  local points = tonumber(arguments[2])
  for number = 1, TEMPLATES do
    templates[number] = template(arguments[1], points, number)
  end
  second = tonumber(arguments[3]) + THREAD_SECONDS * thread_number
  local pause = tonumber(arguments[4])
  if pause > 0 then -- wrk looks for a delay() after this
    function delay()
      return math.random(0, 2 * pause)
    end
  end
end

function request()
  next_template = next_template % TEMPLATES + 1
  batch = batch + 1
  if batch == BATCHES_A_SECOND then
    second, batch = second + 1, 0
  end
  return (string.gsub(templates[next_template], "@", string.format("%d%07d", second, batch)))
end

strange = 0 -- answers that are not 204; wrk itself counts those above 399 only

function response(status)
  if status ~= 204 then
    strange = strange + 1
  end
end

-- What the run was, as one line of JSON: counts; microseconds; the CPU seconds of wrk itself.
function done(summary, latency)
  local errors = summary.errors
  local refused = 0
  for _, thread in ipairs(threads) do
    refused = refused + thread:get("strange")
  end
  io.write(
    string.format(
      'torfluxd-bench {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "refused": %d,'
        .. ' "broken": %d, "timeouts": %d, "cpu_seconds": %.2f}\n',
      summary.requests,
      summary.duration,
      latency:percentile(50),
      latency:percentile(99),
      refused,
      errors.connect + errors.read + errors.write,
      errors.timeout,
      os.clock()
    )
  )
end
