// Who disturbs: a second thread of the host, and the one who takes the gadget off the bus.

#include <cerrno>

#include <unistd.h>

#include "lib/futex.h"
#include "lib/racer.h"
#include "lib/usb/gadget_parts.h"

namespace at {

namespace {

constexpr std::uint64_t ms = 1000000;
constexpr std::uint64_t us = 1000;

} // namespace

void GadgetRace::disable_endpoints(bool comes_back, const std::function<void()>& act) {
    const std::lock_guard lock(disabling_);
    const std::uint32_t begun = books_.disablings_begun.fetch_add(1, std::memory_order_seq_cst) + 1;
    act();
    if (comes_back)
        books_.disablings_ended.store(begun, std::memory_order_seq_cst);
}

void GadgetRace::molest_loop(std::uint32_t, Random& random) {
    const double halts = knobs_.real("halt_ratio");
    const double resets = knobs_.real("reset_ratio");
    while (!stopped()) {
        wait_for_change(shared_.stop, 0, std::uint64_t{random.logarithmic(20, 4000)} * us);
        if (!configured_.load(std::memory_order_acquire))
            continue;
        if (random.chance(resets)) {
            disable_endpoints(true, [this] {
                const Calling calling(Call::ioctl);
                HostDevice::Borrowed borrowed(host_);
                if (borrowed && borrowed.reset() == 0)
                    shared_.count(Counter::port_resets);
            });
            continue;
        }
        HostDevice::Borrowed borrowed(host_);
        if (!borrowed)
            continue;
        const Calling calling(Call::ioctl);
        if (random.chance(halts)) {
            const std::uint32_t endpoint = random.below(endpoints_);
            if (borrowed.set_halt(endpoint) == 0)
                shared_.count(Counter::halts);
            continue; // the next URB of the endpoint ends in EPIPE, and the host clears it
        }
        if (random.chance(knobs_.real("discard_ratio"))) {
            HostUrb& chosen = *urbs_[random.below(static_cast<std::uint32_t>(urbs_.size()))];
            if (chosen.pending.load(std::memory_order_relaxed) && borrowed.discard(chosen.urb) == 0)
                shared_.count(Counter::urbs_discarded);
        }
    }
}

void GadgetRace::bind_loop(std::uint32_t, Random&) {}

} // namespace at
