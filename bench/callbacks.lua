-- wrk: rotates through prepared requests. Environment BODIES: a file of "signature<TAB>body" lines.
local requests, count, position = {}, 0, 0
function init()
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8", ["User-Agent"] = "TwilioProxy/1.1" }
  for line in io.lines(os.getenv("BODIES")) do
    local signature, body = line:match("^(%S+)\t(.*)$")
    headers["X-Twilio-Signature"] = signature
    headers["I-Twilio-Idempotency-Token"] = string.format("%08d-0000-4000-8000-000000000000", count)
    count = count + 1
    requests[count] = wrk.format("POST", wrk.path, headers, body)
  end
end
function request() position = position + 1; return requests[position % count + 1] end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT {"requests": %d, "refused": %d, "broken": %d, "seconds": %f, "p50": %f, "p99": %f, "max": %f}\n',
    summary.requests, e.status, e.connect + e.read + e.write + e.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
