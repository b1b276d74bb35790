/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/* The codec as C++20 likes it: messages are ranges of runs, and an encoder is owned by its scope. */
#ifndef VBB_EXAMPLES_VBB_HPP
#define VBB_EXAMPLES_VBB_HPP

#include <virtio_balloon_bmap/vbb.h>

#include <cstddef>
#include <iterator>
#include <memory>
#include <span>
#include <stdexcept>
#include <vector>

namespace vbb {

/* A mistake in the program that calls; what a peer does wrong is no exception, but a fault(). */
struct error : std::logic_error {
	explicit error(int err) : std::logic_error(vbb_strerror(err))
	{
	}
};

/*
 * A page message that is being decoded: "for (const vbb_range &run : message)", once. Borrows the
 * segments and what they point to.
 */
class message {
	vbb_dec dec;
	int err;

public:
	message(const vbb_dec_cfg &cfg, std::span<const vbb_seg> segs)
		: dec(), err(vbb_dec_init(&dec, &cfg, segs.data(), segs.size()))
	{
	}

	class iterator {
		message *m = nullptr;
		vbb_range run{};

	public:
		using value_type = vbb_range;
		using difference_type = std::ptrdiff_t;

		iterator() = default;
		explicit iterator(message &message) : m(&message)
		{
			++*this;
		}

		const vbb_range &operator*() const
		{
			return run;
		}

		iterator &operator++()
		{
			m->err = vbb_dec_next(&m->dec, &run);
			return *this;
		}

		void operator++(int)
		{
			++*this;
		}

		bool operator==(std::default_sentinel_t) const
		{
			return m->err <= 0;
		}
	};
	static_assert(std::input_iterator<iterator>);

	iterator begin()
	{
		return iterator(*this);
	}

	std::default_sentinel_t end() const
	{
		return {};
	}

	/* What ended it: 0 where it was whole, else the peer's fault; runs that came before stand. */
	int fault() const
	{
		return err < 0 ? err : 0;
	}

	/* Only where fault() was 0 from the start */
	unsigned int page_shift() const
	{
		return dec.hdr.page_shift;
	}
};

/* Runs become messages of len bytes at most, as many as it takes: sink gets each. */
template <typename Runs, typename Sink>
void encode(const vbb_enc_cfg &cfg, std::size_t len, const Runs &runs, Sink &&sink)
{
	auto enc = std::make_unique<vbb_enc>();
	std::vector<std::byte> buf(len);
	const vbb_seg seg{ buf.data(), buf.size() };
	vbb_msg msg;

	auto finish = [&] {
		if (int err = vbb_enc_finish(enc.get(), 0, &msg))
			throw error(err);
		if (msg.len)
			sink(std::span<const std::byte>(buf).first(static_cast<std::size_t>(msg.len)));
	};
	if (int err = vbb_enc_init(enc.get(), &cfg, &seg, 1))
		throw error(err);
	for (vbb_range run : runs) {
		int err;

		/* what was not taken is in run */
		while ((err = vbb_enc_put(enc.get(), &run)) == VBB_E_NOSPC) {
			finish();
			if ((err = vbb_enc_next(enc.get(), &seg, 1)))
				break;
		}
		if (err)
			throw error(err);
	}
	finish();
}

} // namespace vbb

#endif
