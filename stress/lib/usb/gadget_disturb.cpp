// Who disturbs: a second thread of the host, and the one who takes the gadget off the bus.

#include <cerrno>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

#include "lib/futex.h"
#include "lib/racer.h"
#include "lib/system.h"
#include "lib/usb/gadget_parts.h"
#include "lib/usb/packets.h"

namespace at {

namespace {

constexpr std::uint64_t ms = 1000000;
constexpr std::uint64_t us = 1000;
constexpr std::uint64_t comes_back_bound_ns = 20000 * ms;

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

// The gadget is on the bus again, and the host has configured it.
bool GadgetRace::until_reopened(std::uint32_t opens) {
    const std::uint64_t until = monotonic_ns() + comes_back_bound_ns;
    while (!stopped() && monotonic_ns() < until) {
        const std::uint32_t now = opens_.load(std::memory_order_acquire);
        if (now != opens)
            return true;
        wait_for_change(opens_, now, 5 * ms);
    }
    if (!stopped())
        harness_error("the device does not come back; the controller is " + gadget_->state());
    return false;
}

// Files are let go while requests are in flight: those hold them, and the last to end makes the
// driver forget its descriptors (f_fs.c, ffs_data_closed()).  Then all is said anew.
void GadgetRace::reopen(Random& random) {
    {
        const Calling calling(Call::close);
        gadget_->close(random.below(2));
    }
    if (random.below(2)) // who unbinds first: the last close, or this
        wait_for_change(shared_.stop, 0, std::uint64_t{random.logarithmic(50, 20000)} * us);
    {
        const Calling calling(Call::removal);
        gadget_->unbind();
    }
    const std::uint64_t until = monotonic_ns() + comes_back_bound_ns;
    for (std::string why = "stopped"; !stopped();) {
        try {
            const Calling calling(Call::open);
            gadget_->open();
            shared_.count(Counter::reopens);
            return;
        } catch (const std::runtime_error& error) {
            why = error.what(); // the files that requests hold are not all gone
            gadget_->close(true);
        }
        if (monotonic_ns() > until) {
            harness_error("the gadget cannot be opened again: " + why);
            return;
        }
        wait_for_change(shared_.stop, 0, 5 * ms);
    }
}

void GadgetRace::bind_loop(std::uint32_t, Random& random) {
    while (!stopped()) {
        wait_for_change(shared_.stop, 0, std::uint64_t{random.logarithmic(1, 400)} * ms);
        if (stopped())
            return;
        const std::uint32_t opens = opens_.load(std::memory_order_acquire);
        const std::uint32_t how = random.below(4);
        disable_endpoints(true, [&] {
            std::int32_t waiting = 0;
            for (std::uint32_t i = 0; i < contexts_; ++i)
                waiting += shared_.contexts[i].in_flight.load(std::memory_order_relaxed);
            if (waiting > 0)
                shared_.count(Counter::removed_inflight);
            if (how == 0) {
                const Calling calling(Call::removal);
                gadget_->connect(false);
                shared_.count(Counter::disconnects);
            } else if (how == 1) {
                reopen(random);
            } else {
                const Calling calling(Call::removal);
                gadget_->unbind();
                shared_.count(Counter::unbinds);
            }
            wait_for_change(shared_.stop, 0, std::uint64_t{random.logarithmic(10, 3000)} * us);
            if (stopped())
                return;
            {
                const Calling calling(Call::removal);
                if (how == 0)
                    gadget_->connect(true);
                else
                    gadget_->bind();
            }
            until_reopened(opens);
        });
    }
}

// Processes that ask for a read, cancel it, and end: what the driver holds of their mm is theirs to
// give back (oracles/gadget_leak.h).
void GadgetRace::send_passers_by(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count && !stopped(); ++i) {
        const Calling calling(Call::fork);
        const pid_t child = fork();
        if (child == 0) {
            io_context_t context = nullptr;
            std::byte room[usb_packet_bytes];
            iocb cb{};
            iocb* pointer = &cb;
            io_event event{};
            io_prep_pread(&cb, gadget_->endpoint_fd(0), room, sizeof room, 0);
            const bool asked = io_setup(1, &context) == 0 && io_submit(context, 1, &pointer) == 1;
            if (asked) {
                io_cancel(context, &cb, &event);
                timespec bound{1, 0};
                io_getevents(context, 1, 1, &event, &bound);
            }
            _exit(0);
        }
        if (child < 0)
            throw_errno("fork");
        while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
        }
        shared_.count(Counter::forks);
    }
}

} // namespace at
