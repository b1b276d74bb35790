-- SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
-- Page messages of virtio-balloon in captures of `vbb device --capture`, see README.md.
--
-- A reader of its own, from docs/spec.md: it shares no code with the library. Numbers of the wire
-- that are compared are doubles, exact below 2^53; what can be larger is shown by Wireshark itself,
-- or lies so far over its limit that the last digits do not matter.

local PSEUDO_LEN, HDR_LEN, RESULT_LEN = 24, 32, 16
local PAYLOAD_MAX = 2 ^ 20
local CAPTURE_MAX = HDR_LEN + PAYLOAD_MAX
local PFN_END = 2 ^ 52
local FORMAT_BITMAP, FORMAT_RECORDS, FORMAT_VALUES = 0, 1, 2
local CODE_EXTENT = 63
local CMD_DROP_CACHE, CMD_CANCEL = 1, 2

local KINDS = { [1] = "message", [2] = "comes back" }
local FROM = { [0] = "driver", "device" }
local ROLES = { [0] = "unknown", "inflate", "deflate", "stats", "hint", "reporting", "host_request" }
local HOST_REQUEST = 6
local CMDS = { [0] = "GET_UNUSED_PAGES", "DROP_CACHE", "CANCEL" }
local FLAGS = { [0] = "CONT", "DONE", "UNSUPPORTED", "BUSY", "CANCELLED", "FAILED" }
local FORMATS = { [0] = "BITMAP", "RECORDS", "VALUES" }
local STATUS = { [0] = "OK", "PARTIAL", "INHIBITED", "MALFORMED" }
local STATS = { [0] = "swap-in", "swap-out", "major-faults", "minor-faults", "free-memory", "total-memory",
	"available-memory", "disk-caches", "htlb-pgalloc", "htlb-pgfail", "oom-kill", "alloc-stall", "async-scan",
	"direct-scan", "async-reclaim", "direct-reclaim" }

-- The faults, by the names of the library
local FAULTS = {
	SHORT = "shorter than its fixed part",
	LEN = "a length is not what it must be",
	LEN_MAX = "more than 2^20 bytes of payload",
	LEN_EMPTY = "no payload, and no flag that ends",
	LEN_ALIGN = "length is not a multiple of the unit",
	CMD = "cmd is not one of this queue's",
	PAGE_SHIFT = "page_shift is not 12 to 30",
	FLAG = "flag has no such value here",
	FORMAT = "format unknown, or not negotiated",
	REQ_ID = "req_id is not 0 where it must be, or 0 where it must not",
	START_PFN = "start_pfn is not 0, or is 2^52 or more",
	PAYLOAD = "a payload where none is allowed",
	REQ_OPEN = "a request's id is that of one still open",
	REQ_STALE = "an answer to no open request",
	REQ_CMD = "an answer's cmd is not its request's",
	RESERVED = "a reserved field is not 0",
	REC_ORDER = "a record's order is over 51, or not 0 in an extent",
	REC_ALIGN = "a record's pfn is not a multiple of 2^order",
	REC_TRUNC = "a record runs past the payload",
	REC_COUNT = "an extent's page count is 0 or over 2^52",
	PFN_RANGE = "a page at or past pfn 2^52 or byte 2^64",
	PFN_LIMIT = "a page at or past the receiver's limit",
	STATUS = "a result's status is unknown",
	REQ_ARG = "a request's argument has no such value",
	FRAME = "a stream's or a capture's framing is broken",
}

local proto = Proto("vbb", "virtio-balloon page messages")

proto.prefs.max_items = Pref.uint("Items shown", 256, "Of each kind, in a packet: records, words, runs and the like")
proto.prefs.limit_pfn = Pref.string("Limit", "", "Pages at or past this pfn are faults; nothing: no limit")

local f = {
	version = ProtoField.uint8("vbb.version", "Version"),
	kind = ProtoField.uint8("vbb.kind", "Kind", base.DEC, KINDS),
	from = ProtoField.uint8("vbb.from", "From", base.DEC, FROM),
	role = ProtoField.uint8("vbb.role", "Queue is for", base.DEC, ROLES),
	queue = ProtoField.uint16("vbb.queue", "Queue"),
	bitmap = ProtoField.bool("vbb.page_messages", "Page messages", 16, nil, 1),
	records = ProtoField.bool("vbb.records", "Records", 16, nil, 2),
	id = ProtoField.uint32("vbb.id", "Chain"),
	in_len = ProtoField.uint32("vbb.in_len", "Bytes to write"),
	len = ProtoField.uint32("vbb.len", "Length"),
	off = ProtoField.uint32("vbb.off", "Bytes in packets before"),
	message_frame = ProtoField.framenum("vbb.message_frame", "Comes back from", base.NONE, frametype.REQUEST),
	done_frame = ProtoField.framenum("vbb.done_frame", "Comes back in", base.NONE, frametype.RESPONSE),
	request_frame = ProtoField.framenum("vbb.request_frame", "Answers the request in", base.NONE, frametype.REQUEST),
	answer_frame = ProtoField.framenum("vbb.answer_frame", "Answered in", base.NONE, frametype.RESPONSE),
	cancel_frame = ProtoField.framenum("vbb.cancel_frame", "Cancels the request in", base.NONE),
	time = ProtoField.relative_time("vbb.time", "Time since then"),

	cmd = ProtoField.uint16("vbb.cmd", "cmd", base.DEC),
	page_shift = ProtoField.uint16("vbb.page_shift", "page_shift"),
	flag = ProtoField.uint16("vbb.flag", "flag", base.DEC),
	format = ProtoField.uint16("vbb.format", "format", base.DEC, FORMATS),
	req_id = ProtoField.uint64("vbb.req_id", "req_id", base.DEC_HEX),
	start_pfn = ProtoField.uint64("vbb.start_pfn", "start_pfn", base.HEX_DEC),
	bmap_len = ProtoField.uint64("vbb.bmap_len", "bmap_len", base.DEC),
	reserved = ProtoField.bytes("vbb.reserved", "reserved"),
	arg0 = ProtoField.uint64("vbb.arg0", "arg0", base.HEX_DEC),
	arg1 = ProtoField.uint64("vbb.arg1", "arg1", base.DEC_HEX),

	word = ProtoField.uint64("vbb.word", "Word", base.HEX),
	record = ProtoField.string("vbb.record", "Record"),
	rec_pfn = ProtoField.uint64("vbb.record.pfn", "pfn", base.HEX_DEC),
	rec_order = ProtoField.uint8("vbb.record.order", "order"),
	rec_code = ProtoField.uint8("vbb.record.code", "code"),
	rec_count = ProtoField.uint64("vbb.record.count", "page count", base.DEC),
	value = ProtoField.uint64("vbb.value", "Value", base.DEC_HEX),
	frame = ProtoField.uint32("vbb.frame", "Frame", base.HEX_DEC),
	run_pfn = ProtoField.uint64("vbb.run.pfn", "Run", base.HEX_DEC),
	run_pages = ProtoField.uint64("vbb.run.nr_pages", "Pages", base.DEC),
	nr_pages = ProtoField.uint64("vbb.nr_pages", "Pages named", base.DEC),
	nr_runs = ProtoField.uint32("vbb.nr_runs", "Runs"),

	result_pages = ProtoField.uint64("vbb.result.nr_pages", "nr_pages", base.DEC),
	status = ProtoField.uint16("vbb.result.status", "status", base.DEC, STATUS),
	discard_shift = ProtoField.uint16("vbb.result.discard_shift", "discard_shift"),

	stat_tag = ProtoField.uint16("vbb.stat.tag", "Statistic", base.DEC, STATS),
	stat_value = ProtoField.uint64("vbb.stat.value", "Value", base.DEC),
	hint_cmd = ProtoField.uint32("vbb.hint.cmd_id", "Round", base.HEX_DEC),

	fault = ProtoField.string("vbb.fault", "Fault"),
	fault_byte = ProtoField.uint32("vbb.fault.byte", "At byte"),
}
proto.fields = f

local experts = {}
for name, text in pairs(FAULTS) do
	experts[name] = ProtoExpert.new("vbb.fault." .. name:lower(), name .. ": " .. text, expert.group.MALFORMED,
		expert.severity.ERROR)
end
proto.experts = experts

-- Numbers out of a string of bytes

local function u16(s, at)
	local a, b = s:byte(at + 1, at + 2)
	return a + b * 256
end

local function u32(s, at)
	return u16(s, at) + u16(s, at + 2) * 65536
end

-- Exact below 2^53
local function u64(s, at)
	return u32(s, at) + u32(s, at + 4) * 4294967296
end

local function uint64(number)
	return UInt64.new(number % 4294967296, math.floor(number / 4294967296) % 4294967296)
end

-- What may be read as text in front of a page
local function hex(number)
	local high = math.floor(number / 4294967296)
	return high > 0 and string.format("0x%x%08x", high, number % 4294967296) or string.format("0x%x", number)
end

-- Runs of pages, merged as they come; the first ones are kept

local Runs = {}
Runs.__index = Runs

function Runs.new(limit_pfn, wire_pfn, max_items)
	local low = limit_pfn < wire_pfn
	return setmetatable({ limit = low and limit_pfn or wire_pfn, past = low and "PFN_LIMIT" or "PFN_RANGE",
		max = max_items, kept = {}, nr = 0, low = 0, high = 0, pfn = 0, pages = 0 }, Runs)
end

function Runs:finish()
	if self.pages == 0 then
		return
	end
	self.nr = self.nr + 1
	if self.nr <= self.max then
		self.kept[self.nr] = { self.pfn, self.pages }
	end
	-- the sum modulo 2^64, as elsewhere
	local low = self.low + self.pages
	self.low = low % 4294967296
	self.high = (self.high + math.floor(low / 4294967296)) % 4294967296
	self.pages = 0
end

function Runs:put(pfn, pages)
	local last, more_last = self.pfn + self.pages, pfn + pages
	if self.pages > 0 and pfn <= last and self.pfn <= more_last then
		if pfn < self.pfn then
			self.pfn = pfn
		end
		self.pages = (more_last > last and more_last or last) - self.pfn
	else
		self:finish()
		self.pfn, self.pages = pfn, pages
	end
end

-- A block, an extent or a frame: all of it or nothing. Returns the fault, or nil.
function Runs:give(pfn, pages)
	if pfn >= self.limit or pages > self.limit - pfn then
		return self.past
	end
	self:put(pfn, pages)
end

-- The runs of ones in each byte: first bit and length, one behind the other
local ONES = {}
for byte = 0, 255 do
	local ones, bit, rest, length = {}, 0, byte, 0
	while bit <= 8 do
		if rest % 2 == 1 then
			length = length + 1
		elseif length > 0 then
			ones[#ones + 1] = bit - length
			ones[#ones + 1] = length
			length = 0
		end
		rest, bit = math.floor(rest / 2), bit + 1
	end
	ONES[byte] = ones
end

-- The bits of s from byte `at` on, each 2^order pages. Returns the fault and its byte, or nil.
function Runs:bits(s, at, len, base_pfn, order)
	local scale = 2 ^ order
	local last = base_pfn < self.limit and math.floor((self.limit - 1 - base_pfn) / scale) or -1
	for i = 0, len - 1 do
		local byte = s:byte(at + i + 1)
		if byte ~= 0 then
			local ones = ONES[byte]
			for k = 1, #ones, 2 do
				local first, count = 8 * i + ones[k], ones[k + 1]
				if first > last then
					return self.past, at + i - i % 8
				end
				local cut = count - 1 > last - first
				if cut then
					count = last - first + 1
				end
				local pfn, pages = base_pfn + first * scale, count * scale
				if pages > self.limit - pfn then
					cut, pages = true, self.limit - pfn
				end
				self:put(pfn, pages)
				if cut then
					return self.past, at + i - i % 8
				end
			end
		end
	end
end

-- Decoders: the first fault and its byte, or nil. What they find goes to runs and to items.

local function check_header(h, answer, records)
	if not answer and h.cmd ~= 0 then
		return "CMD", 0
	elseif h.page_shift < 12 or h.page_shift > 30 then
		return "PAGE_SHIFT", 2
	elseif h.flag ~= 0 and not (answer and h.flag <= 5) then
		return "FLAG", 4
	elseif h.format > FORMAT_VALUES or h.format == FORMAT_VALUES and not answer
		or h.format == FORMAT_RECORDS and not records then
		return "FORMAT", 6
	elseif not answer and h.req_id ~= 0 then
		return "REQ_ID", 8
	elseif h.start_pfn >= (h.format == FORMAT_BITMAP and PFN_END or 1) then
		return "START_PFN", 16
	elseif h.bmap_len > PAYLOAD_MAX then
		return "LEN_MAX", 24
	elseif h.bmap_len ~= h.left then
		return "LEN", 24
	elseif h.bmap_len == 0 and h.flag == 0 then
		return "LEN_EMPTY", 24
	elseif h.bmap_len > 0 and h.flag > 1 then
		return "PAYLOAD", 24
	elseif h.format ~= FORMAT_BITMAP and h.bmap_len % 8 ~= 0 then
		return "LEN_ALIGN", 24
	end
end

-- A record's first word, in its parts; items is called with where it is and how many words follow.
local function decode_records(s, runs, items)
	local at, len = HDR_LEN, #s
	while at < len do
		local high = u32(s, at + 4)
		local pfn = u32(s, at) + high % 0x100000 * 4294967296
		local order = math.floor(high / 0x100000) % 64
		local code = math.floor(high / 0x4000000)
		local words = code == CODE_EXTENT and 1 or code
		local there = math.min(words, (len - at) / 8 - 1)
		items(at, pfn, order, code, there)
		if order > (code == CODE_EXTENT and 0 or 51) then
			return "REC_ORDER", at
		elseif pfn % 2 ^ order ~= 0 then
			return "REC_ALIGN", at
		elseif there < words then
			return "REC_TRUNC", at
		end
		local fault, byte
		if code == 0 then
			fault, byte = runs:give(pfn, 2 ^ order), at
		elseif code == CODE_EXTENT then
			local pages = u64(s, at + 8)
			if pages == 0 or pages > PFN_END then
				return "REC_COUNT", at + 8
			end
			fault, byte = runs:give(pfn, pages), at
		else
			fault, byte = runs:bits(s, at + 8, 8 * words, pfn, order)
		end
		if fault then
			return fault, byte
		end
		at = at + 8 + 8 * words
	end
end

local function decode_frames(s, runs, whole)
	local at = 0
	while #s - at >= 4 do
		local fault = runs:give(u32(s, at), 1)
		if fault then
			return fault, at
		end
		at = at + 4
	end
	if whole and at < #s then
		return "LEN_ALIGN", at
	end
end

-- What is remembered of a capture from the first time that its packets are seen

local chains, requests, links, parts, pending

function proto.init()
	chains, requests, links, parts, pending = {}, {}, {}, {}, nil
end

local function link(number)
	links[number] = links[number] or {}
	return links[number]
end

-- A number of 64 bits as a key
local function key(s, at)
	return s:sub(at + 1, at + 8)
end

local function note_done(pinfo, p)
	local chain = p.queue .. ":" .. p.id
	if p.kind == 1 then
		chains[chain] = pinfo.number
	elseif chains[chain] then
		link(pinfo.number).message = chains[chain]
		link(chains[chain]).done = pinfo.number
		chains[chain] = nil
	end
end

-- One that has an id, and is open from now on unless one of that id is
local function note_request(pinfo, s)
	local now, before = link(pinfo.number), requests[key(s, 8)]
	if u16(s, 0) == CMD_CANCEL and #s >= 24 then
		now.cancels = requests[key(s, 16)] and requests[key(s, 16)].number
	end
	if before and before.open then
		now.fault = "REQ_OPEN"
	else
		requests[key(s, 8)] = { number = pinfo.number, time = pinfo.abs_ts, cmd = u16(s, 0), open = true }
	end
end

local function note_answer(pinfo, s)
	local request = requests[key(s, 8)]
	if request then
		local now, there = link(pinfo.number), link(request.number)
		now.request, now.since = request.number, pinfo.abs_ts - request.time
		there.answers = there.answers or {}
		there.answers[#there.answers + 1] = pinfo.number
	end
end

-- One whose header has no fault. It can be at fault as an answer, or end its request.
local function note_verdict(pinfo, h, s)
	local now, request = link(pinfo.number), requests[key(s, 8)]
	if not request or not request.open then
		now.fault, now.byte = "REQ_STALE", 8
	elseif h.cmd ~= request.cmd then
		now.fault, now.byte = "REQ_CMD", 0
	elseif h.bmap_len > 0 and h.cmd == CMD_CANCEL then
		now.fault, now.byte = "PAYLOAD", 24
	elseif h.bmap_len > 0 and (h.format == FORMAT_VALUES) ~= (h.cmd == CMD_DROP_CACHE) then
		now.fault, now.byte = "FORMAT", 6
	else
		request.open = h.flag == 0
	end
end

local function show_links(tree, number)
	local l = links[number]
	if not l then
		return
	end
	for _, name in ipairs({ "message", "done", "request" }) do
		if l[name] then
			tree:add(f[name .. "_frame"], l[name]):set_generated()
		end
	end
	if l.since then
		local whole = math.floor(l.since)
		tree:add(f.time, NSTime.new(whole, math.floor((l.since - whole) * 1e9))):set_generated()
	end
	for i = 1, math.min(l.answers and #l.answers or 0, proto.prefs.max_items) do
		tree:add(f.answer_frame, l.answers[i]):set_generated()
	end
	if l.cancels then
		tree:add(f.cancel_frame, l.cancels):set_generated()
	end
end

-- Show

local function show_fault(tree, range, fault, byte)
	tree:add(f.fault, range, fault):set_generated()
	tree:add(f.fault_byte, range, byte):set_generated()
	tree:add_proto_expert_info(experts[fault])
end

local function named(item, names, number)
	item:append_text(" " .. (names[number] or "(unknown)"))
end

-- What is added through this stops at the limit, and says so.
local function limited(tree)
	local left = proto.prefs.max_items
	return function(add)
		left = left - 1
		if left >= 0 then
			add()
		elseif left == -1 then
			tree:add("More are not shown: see the preferences of this protocol"):set_generated()
		end
	end
end

local function show_runs(tree, range, runs)
	runs:finish()
	tree:add(f.nr_pages, range, UInt64.new(runs.low, runs.high)):set_generated()
	tree:add(f.nr_runs, range, runs.nr):set_generated()
	local sub = tree:add("Runs of pages"):set_generated()
	local item = limited(sub)
	for i = 1, math.min(runs.nr, runs.max + 1) do
		item(function()
			local run = runs.kept[i]
			local one = sub:add(f.run_pfn, range, uint64(run[1])):set_generated()
			one:append_text(" to " .. hex(run[1] + run[2] - 1))
			one:add(f.run_pages, range, uint64(run[2])):set_generated()
		end)
	end
end

local function limit_of()
	local number = tonumber(proto.prefs.limit_pfn)
	if not number or number == 0 then
		return math.huge
	end
	-- what does not fit into an integer of Lua's is negative, and no limit
	return number > 0 and number or math.huge
end

local function count_ones(s, at, len)
	local n = 0
	for i = 1, len do
		local ones = ONES[s:byte(at + i)]
		for k = 2, #ones, 2 do
			n = n + ones[k]
		end
	end
	return n
end

local function show_record(tree, msg, s, at, pfn, order, code, there)
	local kind = code == 0 and "block" or code == CODE_EXTENT and "extent" or "bitmap"
	local pages = code == 0 and 2 ^ order or code ~= CODE_EXTENT and count_ones(s, at + 8, 8 * there) * 2 ^ order
		or there == 1 and u64(s, at + 8) or 0
	local range = msg(at, 8 + 8 * there)
	local sub = tree:add(f.record, range, kind)
	sub:append_text(string.format(", pfn %s, order %d: %.0f pages", hex(pfn), order, pages))
	sub:add(f.rec_pfn, msg(at, 7), uint64(pfn))
	sub:add(f.rec_order, msg(at + 6, 2), order)
	sub:add(f.rec_code, msg(at + 7, 1), code)
	for i = 1, there do
		sub:add_le(code == CODE_EXTENT and f.rec_count or f.word, msg(at + 8 * i, 8))
	end
end

local function show_header(tree, msg, h, answer)
	local sub = tree:add(msg(0, HDR_LEN), "Header")
	local cmd = sub:add_le(f.cmd, msg(0, 2))
	sub:add_le(f.page_shift, msg(2, 2))
	local flag = sub:add_le(f.flag, msg(4, 2))
	sub:add_le(f.format, msg(6, 2))
	sub:add_le(f.req_id, msg(8, 8))
	sub:add_le(f.start_pfn, msg(16, 8))
	sub:add_le(f.bmap_len, msg(24, 8))
	if answer then
		named(cmd, CMDS, h.cmd)
		named(flag, FLAGS, h.flag)
	end
end

local function load_header(s, len)
	return { cmd = u16(s, 0), page_shift = u16(s, 2), flag = u16(s, 4), format = u16(s, 6), req_id = u64(s, 8),
		start_pfn = u64(s, 16), bmap_len = u64(s, 24), left = len - HDR_LEN }
end

-- Up to and with what is at fault
local function show_words(tree, msg, s, fault_at)
	local item = limited(tree)
	local at = s:find("[^\0]", HDR_LEN + 1)
	while at and at - 1 < fault_at + 8 do
		local first = at - 1 - (at - 1) % 8
		item(function() tree:add_le(f.word, msg(first, math.min(8, #s - first))) end)
		at = s:find("[^\0]", first + 9)
	end
end

local function show_page_message(tree, pinfo, p, msg, s)
	local answer = p.role == HOST_REQUEST
	if p.len < HDR_LEN then
		show_runs(tree, p.range, Runs.new(0, 0, 0))
		show_fault(tree, p.range, "SHORT", 0)
		pinfo.cols.info:append(" SHORT")
		return
	end
	local h = load_header(s, p.len)
	show_header(tree, msg, h, answer)
	if answer then
		pinfo.cols.info:append(string.format(" %s, answer to %s", FLAGS[h.flag] or h.flag, CMDS[h.cmd] or h.cmd))
		if not pinfo.visited then
			note_answer(pinfo, s)
		end
	end
	local fault, byte = check_header(h, answer, p.records)
	if answer and not fault then
		if not pinfo.visited then
			note_verdict(pinfo, h, s)
		end
		fault, byte = links[pinfo.number].fault, links[pinfo.number].byte
	end
	local runs = Runs.new(limit_of(), math.min(PFN_END, 2 ^ (64 - h.page_shift)), proto.prefs.max_items)
	if not fault then
		local sub = #s > HDR_LEN and tree:add(msg(HDR_LEN), "Payload: " .. FORMATS[h.format])
		if h.format == FORMAT_BITMAP then
			fault, byte = runs:bits(s, HDR_LEN, #s - HDR_LEN, h.start_pfn, 0)
			if sub then
				show_words(sub, msg, s, fault and byte or #s)
			end
		elseif h.format == FORMAT_RECORDS then
			local item = sub and limited(sub)
			fault, byte = decode_records(s, runs, function(at, pfn, order, code, there)
				item(function() show_record(sub, msg, s, at, pfn, order, code, there) end)
			end)
		else
			local item = sub and limited(sub)
			for at = HDR_LEN, #s - 8, 8 do
				item(function() sub:add_le(f.value, msg(at, 8)) end)
			end
		end
		pinfo.cols.info:append(" " .. FORMATS[h.format])
	end
	show_runs(tree, p.range, runs)
	if fault then
		show_fault(tree, p.range, fault, byte)
		pinfo.cols.info:append(" " .. fault)
	elseif h.format ~= FORMAT_VALUES then
		pinfo.cols.info:append(string.format(", %.0f pages in %d runs", runs.high * 4294967296 + runs.low, runs.nr))
	end
end

local function show_frames(tree, pinfo, p, msg, s)
	local runs = Runs.new(limit_of(), PFN_END, proto.prefs.max_items)
	local fault, byte = decode_frames(s, runs, p.len == #s)
	if msg then
		local sub = tree:add(msg(), "Frames")
		local item = limited(sub)
		for at = 0, math.min(#s - 4, fault and byte or #s), 4 do
			item(function() sub:add_le(f.frame, msg(at, 4)) end)
		end
	end
	show_runs(tree, p.range, runs)
	pinfo.cols.info:append(string.format(" frames, %d pages in %d runs", runs.low, runs.nr))
	if fault then
		show_fault(tree, msg(), fault, byte)
		pinfo.cols.info:append(" " .. fault)
	end
end

-- A request that has arguments
local function has_bad_argument(s)
	local cmd = u16(s, 0)
	return cmd == CMD_DROP_CACHE and u64(s, 16) > 3 or cmd == CMD_CANCEL and u64(s, 24) ~= 0
end

local function check_request(pinfo, p, s)
	if p.len < 16 then
		return "LEN"
	elseif u64(s, 8) == 0 then
		return "REQ_ID"
	elseif links[pinfo.number].fault then
		return links[pinfo.number].fault
	elseif p.len ~= 16 and p.len ~= 32 then
		return "LEN"
	elseif s:sub(3, 8):find("[^\0]") then
		return "RESERVED"
	elseif p.len == 32 and has_bad_argument(s) then
		return "REQ_ARG"
	end
end

local function show_request(tree, pinfo, p, msg, s)
	local sub = tree:add(msg(), "Request")
	if #s >= 16 then
		named(sub:add_le(f.cmd, msg(0, 2)), CMDS, u16(s, 0))
		sub:add(f.reserved, msg(2, 6))
		sub:add_le(f.req_id, msg(8, 8))
		if not pinfo.visited and u64(s, 8) ~= 0 then
			note_request(pinfo, s)
		end
		pinfo.cols.info:append(" request " .. (CMDS[u16(s, 0)] or u16(s, 0)))
	end
	if #s >= 32 then
		sub:add_le(f.arg0, msg(16, 8))
		sub:add_le(f.arg1, msg(24, 8))
	end
	local fault = check_request(pinfo, p, s)
	if fault then
		show_fault(tree, msg(), fault, 0)
		pinfo.cols.info:append(" " .. fault)
	end
end

local function show_result(tree, pinfo, p, msg, s)
	local fault
	local sub = tree:add(msg(), "Result")
	if p.len < RESULT_LEN then
		fault = "SHORT"
	else
		sub:add_le(f.result_pages, msg(0, 8))
		sub:add_le(f.status, msg(8, 2))
		sub:add_le(f.discard_shift, msg(10, 2))
		sub:add(f.reserved, msg(12, 4))
		if p.len > RESULT_LEN then
			fault = "LEN"
		elseif u32(s, 12) ~= 0 then
			fault = "RESERVED"
		elseif u16(s, 8) > 3 then
			fault = "STATUS"
		end
		pinfo.cols.info:append(" result " .. (STATUS[u16(s, 8)] or u16(s, 8)))
	end
	if fault then
		show_fault(tree, msg(), fault, 0)
		pinfo.cols.info:append(" " .. fault)
	end
end

-- The standard's own queues, as far as messages say anything
local function show_standard(tree, p, msg, s)
	if p.role == 3 then
		local item = limited(tree)
		for at = 0, #s - 10, 10 do
			item(function()
				tree:add_le(f.stat_tag, msg(at, 2)):add_le(f.stat_value, msg(at + 2, 8))
			end)
		end
	elseif p.role == 4 and #s == 4 then
		tree:add_le(f.hint_cmd, msg(0, 4))
	end
end

-- A message that is there; s is all that was captured of it, and msg the same for Wireshark, or nil.
local function show_message(tree, pinfo, p, msg, s)
	local ours = p.role == 1 or p.role == 2 or p.role == HOST_REQUEST
	if #s < p.len then
		tree:add(string.format("%.0f bytes more were not captured", p.len - #s)):set_generated()
	end
	if not ours then
		show_standard(tree, p, msg, s)
	elseif p.kind == 2 then
		if p.len > 0 then
			(p.role == HOST_REQUEST and show_request or show_result)(tree, pinfo, p, msg, s)
		end
	elseif p.role == HOST_REQUEST and p.len == 0 then
		pinfo.cols.info:append(" a buffer for a request")
	elseif p.role == HOST_REQUEST or p.bitmap then
		show_page_message(tree, pinfo, p, msg, s)
	else
		show_frames(tree, pinfo, p, msg, s)
	end
end

-- The bytes in front of each packet

local function load_pseudo(s)
	local p = { version = s:byte(1), kind = s:byte(2), from = s:byte(3), role = s:byte(4), queue = u16(s, 4),
		modes = u16(s, 6), id = u32(s, 8), in_len = u32(s, 12), len = u32(s, 16), off = u32(s, 20) }
	p.bitmap, p.records = p.modes % 2 == 1, p.modes >= 2
	p.there = math.min(p.len, CAPTURE_MAX)
	local good = p.version == 1 and KINDS[p.kind] and FROM[p.from] and ROLES[p.role] and p.modes <= 3
		and (p.kind == 1 or p.in_len == 0)
	return p, good
end

local function show_pseudo(tree, buffer)
	local sub = tree:add(buffer(0, PSEUDO_LEN), "Chain")
	sub:add(f.version, buffer(0, 1))
	sub:add(f.kind, buffer(1, 1))
	sub:add(f.from, buffer(2, 1))
	sub:add(f.role, buffer(3, 1))
	sub:add_le(f.queue, buffer(4, 2))
	sub:add_le(f.bitmap, buffer(6, 2))
	sub:add_le(f.records, buffer(6, 2))
	sub:add_le(f.id, buffer(8, 4))
	sub:add_le(f.in_len, buffer(12, 4))
	sub:add_le(f.len, buffer(16, 4))
	sub:add_le(f.off, buffer(20, 4))
end

-- A part of a message in several packets. Returns false where it does not fit to those before it.
local function collect(pinfo, p, head, s)
	if p.off == 0 then
		pending = { head = head, have = 0, pieces = {} }
	elseif not pending or pending.head ~= head or pending.have ~= p.off then
		pending = nil
	end
	if not pending or #s == 0 or #s > p.there - p.off then
		pending = nil
		return false
	end
	pending.have = pending.have + #s
	pending.pieces[#pending.pieces + 1] = s
	if pending.have == p.there then
		parts[pinfo.number] = table.concat(pending.pieces)
		pending = nil
	else
		parts[pinfo.number] = true
	end
	return true
end

function proto.dissector(buffer, pinfo, root)
	local len = buffer:reported_len()
	if buffer:len() < PSEUDO_LEN then
		return 0
	end
	local head = buffer(0, PSEUDO_LEN):raw()
	local p, good = load_pseudo(head)
	if p.version ~= 1 or not KINDS[p.kind] then
		return 0 -- somebody else's
	end
	pinfo.cols.protocol = "VBB"
	pinfo.cols.src = FROM[p.from] or "?"
	pinfo.cols.dst = FROM[1 - p.from] or "?"
	pinfo.cols.info = string.format("%s %s %.0f", ROLES[p.role] or "?", p.kind == 1 and "chain" or "used", p.id)
	local tree = root:add(proto, buffer())
	show_pseudo(tree, buffer)
	local s = buffer:len() > PSEUDO_LEN and buffer(PSEUDO_LEN):raw() or ""
	local msg = s ~= "" and buffer(PSEUDO_LEN):tvb() or nil
	if good and #s + PSEUDO_LEN == len and (p.off ~= 0 or #s ~= p.there) then
		if not pinfo.visited and not collect(pinfo, p, head:sub(1, 20), s) then
			parts[pinfo.number] = nil
		end
		good = parts[pinfo.number]
		if good == true then
			pinfo.cols.info:append(", a part")
			return
		end
		s = good
		msg = good and ByteArray.new(good, true):tvb("Whole message")
	elseif not pinfo.visited then
		pending = nil
	end
	if not good or #s ~= p.there then
		show_fault(tree, buffer(0, PSEUDO_LEN), "FRAME", 0)
		pinfo.cols.info:append(" FRAME")
		return
	end
	if not pinfo.visited then
		note_done(pinfo, p)
	end
	p.range = msg and msg() or buffer(0, PSEUDO_LEN)
	show_message(tree, pinfo, p, msg, s)
	show_links(tree, pinfo.number)
end

DissectorTable.get("wtap_encap"):add(wtap.USER0, proto)
