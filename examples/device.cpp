// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
/*
 * A guest and a device at two ends of a socket. The guest names pages in small messages; the device
 * takes them out of a memory file, and answers. What is left of the file is what must be left.
 */
#include "vbb.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

constexpr vbb_u64 page = 4096, nr_pages = 8192, max_len = 96;

template <typename T> T check(T ret, const char *what)
{
	if (ret < 0)
		throw std::system_error(errno, std::generic_category(), what);
	return ret;
}

class fd {
	int n;

public:
	explicit fd(int number) : n(number)
	{
	}
	fd(fd &&other) noexcept : n(std::exchange(other.n, -1))
	{
	}
	fd &operator=(fd &&) = delete;
	~fd()
	{
		if (n >= 0)
			close(n);
	}
	operator int() const
	{
		return n;
	}
};

/* A guest's memory: a file, all of it written */
struct memory {
	fd file;

	memory() : file(check(memfd_create("guest", MFD_CLOEXEC), "memfd_create"))
	{
		std::array<char, page> bytes;

		bytes.fill('x');
		for (vbb_u64 pfn = 0; pfn < nr_pages; pfn++)
			check(pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(pfn * page)), "pwrite");
	}

	vbb_u64 pages_held() const
	{
		struct stat st;

		check(fstat(file, &st), "fstat");
		return static_cast<vbb_u64>(st.st_blocks) * 512 / page;
	}

	bool holds(vbb_u64 pfn) const
	{
		char c = 0;

		check(pread(file, &c, 1, static_cast<off_t>(pfn * page)), "pread");
		return c == 'x';
	}
};

/* One message off the socket, its pages off the memory, a result back */
int serve(int socket, const memory &mem)
{
	std::array<std::byte, 50> front;
	std::array<std::byte, max_len> rest;
	std::array<iovec, 2> iov{ { { front.data(), front.size() }, { rest.data(), rest.size() } } };
	const auto len = static_cast<std::size_t>(check(readv(socket, iov.data(), 2), "readv"));
	const std::size_t front_len = std::min(len, front.size());
	const std::array<vbb_seg, 2> segs{ { { front.data(), front_len }, { rest.data(), len - front_len } } };
	const vbb_dec_cfg cfg{ .queue = VBB_QUEUE_BALLOON, .records = true, .limit_pfn = nr_pages };
	vbb::message message(cfg, segs);
	vbb_result result{};

	for (const vbb_range &run : message) {
		const vbb_span bytes = vbb_range_span(&run, message.page_shift());

		check(fallocate(mem.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				static_cast<off_t>(bytes.gpa), static_cast<off_t>(bytes.len)), "fallocate");
		result.nr_pages += run.nr_pages;
	}
	result.status = message.fault() ? VIRTIO_BALLOON_STATUS_MALFORMED : VIRTIO_BALLOON_STATUS_OK;

	std::array<std::byte, VBB_RESULT_LEN> out;
	const vbb_seg seg{ out.data(), out.size() };

	vbb_result_store(&result, &seg, 1);
	check(write(socket, out.data(), out.size()), "write");
	return message.fault();
}

vbb_result result_of(int socket)
{
	std::array<std::byte, VBB_RESULT_LEN> in;
	const auto len = static_cast<std::size_t>(check(read(socket, in.data(), in.size()), "read"));
	const vbb_seg seg{ in.data(), len };
	vbb_result result{};

	if (int err = vbb_result_load(&result, &seg, 1))
		throw vbb::error(err);
	return result;
}

int run()
{
	int ends[2];

	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "socketpair");
	const fd guest(ends[0]), device(ends[1]);
	const vbb_enc_cfg cfg{ .cmd = 0, .page_shift = 12, .req_id = 0, .formats = VBB_FMT_AUTO };
	const memory mem;
	std::vector<vbb_range> runs{ { 1024, 512 }, { 4096, 1000 } };
	std::set<vbb_u64> named;
	vbb_u64 nr_told = 0;
	unsigned int nr_messages = 0;

	/* and single pages: too many for one message */
	for (vbb_u64 pfn = 10; pfn < 1000; pfn += 9)
		runs.push_back({ pfn, 1 });
	for (const vbb_range &r : runs)
		for (vbb_u64 i = 0; i < r.nr_pages; i++)
			named.insert(r.pfn + i);

	auto exchange = [&](std::span<const std::byte> bytes) {
		check(write(guest, bytes.data(), bytes.size()), "write");
		return serve(device, mem);
	};
	vbb::encode(cfg, max_len, runs, [&](std::span<const std::byte> bytes) {
		if (int fault = exchange(bytes))
			throw vbb::error(fault);
		nr_told += result_of(guest).nr_pages;
		nr_messages++;
	});
	std::printf("%u messages, %llu pages given back\n", nr_messages, static_cast<unsigned long long>(nr_told));
	if (nr_messages < 2 || nr_told != named.size() || mem.pages_held() != nr_pages - named.size())
		return 1;
	for (vbb_u64 pfn = 0; pfn < nr_pages; pfn++)
		if (mem.holds(pfn) == named.contains(pfn))
			return 1;

	/* A page that the guest does not have: the device says so, and nothing is lost */
	int fault = 0;

	vbb::encode(cfg, max_len, std::array{ vbb_range{ nr_pages, 1 } },
		    [&](std::span<const std::byte> bytes) { fault = exchange(bytes); });
	std::printf("past the end: %s\n", vbb_err_name(fault));
	if (fault != VBB_E_PFN_LIMIT || result_of(guest).status != VIRTIO_BALLOON_STATUS_MALFORMED ||
	    mem.pages_held() != nr_pages - named.size())
		return 1;
	return 0;
}

} // namespace

int main()
{
	try {
		return run();
	} catch (const std::exception &e) {
		std::fprintf(stderr, "%s\n", e.what());
		return 1;
	}
}
