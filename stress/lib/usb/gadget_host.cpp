// The host's end: URBs for every endpoint, and what they say about the gadget's requests.

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <poll.h>
#include <unistd.h>

#include "lib/futex.h"
#include "lib/kioctx.h"
#include "lib/oracles/contract.h"
#include "lib/oracles/gadget_data.h"
#include "lib/racer.h"
#include "lib/usb/gadget_parts.h"
#include "lib/usb/packets.h"

namespace at {

namespace {

constexpr std::uint64_t ms = 1000000;

} // namespace

void GadgetRace::make_urbs() {
    for (std::uint32_t i = 0; i < endpoints_ * urbs_per_endpoint; ++i) {
        auto urb = std::make_unique<HostUrb>();
        urb->endpoint = i % endpoints_;
        urb->bytes.resize(max_bytes_);
        urbs_.push_back(std::move(urb));
    }
}

bool GadgetRace::submit_urbs(Random& random, bool& gone) {
    bool any = false;
    const std::uint64_t now = monotonic_ns();
    for (const auto& each : urbs_) {
        HostUrb& own = *each;
        if (own.pending.load(std::memory_order_relaxed) ||
            (rests_until_ns_[own.endpoint] > now && !hurry_.load(std::memory_order_relaxed)))
            continue;
        std::uint32_t length = random.logarithmic(1, max_bytes_ / usb_packet_bytes) *
                               static_cast<std::uint32_t>(usb_packet_bytes);
        std::memset(&own.urb, 0, sizeof own.urb);
        if (is_out(own.endpoint)) {
            if (random.below(3))
                length -= random.below(usb_packet_bytes - usb_header_bytes + 1);
            fill_transfer(own.endpoint, sent_[own.endpoint]++, own.bytes.data(), length);
        }
        own.urb.type = USBDEVFS_URB_TYPE_BULK;
        own.urb.endpoint = host_.address(own.endpoint);
        own.urb.buffer = own.bytes.data();
        own.urb.buffer_length = static_cast<int>(length);
        own.urb.usercontext = &own;
        own.pending.store(true, std::memory_order_relaxed);
        const int answer = host_.submit(own.urb);
        if (answer == 0) {
            shared_.count(Counter::urbs);
            any = true;
            continue;
        }
        own.pending.store(false, std::memory_order_relaxed);
        gone |= answer == -ENODEV;
        // ENOENT, EHOSTUNREACH, ESHUTDOWN…: the device is being configured anew.
        rests_until_ns_[own.endpoint] = now + ms;
    }
    return any;
}

void GadgetRace::check_owed(std::uint32_t index, std::uint64_t generation) {
    const std::uint64_t owed = owed_[index][generation % owed_kept].load(std::memory_order_acquire);
    const Received& received = received_[index];
    const std::uint32_t got = received.generation == generation ? received.packets : 0;
    if (owed >> 8 != books_.disablings_begun.load(std::memory_order_acquire))
        return;
    if (auto finding = judge_owed(static_cast<std::uint32_t>(owed & 0xff), got, generation)) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.report(*finding);
    }
}

void GadgetRace::check_packet_in(std::uint32_t endpoint, const std::byte* bytes,
                                 std::size_t length) {
    PacketName name;
    const PacketFault fault = check_packet(bytes, length, name);
    const auto index = static_cast<std::uint32_t>(name.transfer & (max_slots - 1));
    const std::uint64_t generation = name.transfer >> 12;
    const bool known =
        name.endpoint == endpoint && index < slots_ && endpoint_of(index) == endpoint &&
        generation <= generation_of(shared_.slots[index].word.load(std::memory_order_acquire));
    const char* wrong =
        wrong_packet(fault, known, known && generation < received_[index].generation);
    if (!wrong) {
        Received& received = received_[index];
        if (generation > received.generation) {
            // All requests before this one were judged before it was drawn.
            for (std::uint64_t passed = std::max(
                     received.generation, generation > owed_kept ? generation - owed_kept + 1 : 1);
                 passed < generation; ++passed)
                if (passed)
                    check_owed(index, passed);
            received = {generation, 0};
        }
        wrong = wrong_place(name.index, received.packets);
        received.packets = name.index + 1;
    }
    if (!wrong)
        return;
    Finding finding = packet_finding(wrong, bytes, length);
    finding.evidence.push_back(index < slots_ ? describe_slot(shared_, index) : "no such slot");
    shared_.report(finding);
}

void GadgetRace::check_received(const HostUrb& own) {
    const auto got = static_cast<std::size_t>(std::max(own.urb.actual_length, 0));
    for (std::size_t at = 0; at < got; at += usb_packet_bytes)
        check_packet_in(own.endpoint, own.bytes.data() + at, std::min(usb_packet_bytes, got - at));
    shared_.count(Counter::bytes_verified, got);
}

bool GadgetRace::reap_urbs(Random& random, bool& gone) {
    bool any = false;
    while (usbdevfs_urb* reaped = host_.reap(gone)) {
        any = true;
        HostUrb& own = *static_cast<HostUrb*>(reaped->usercontext);
        own.pending.store(false, std::memory_order_relaxed);
        if (!is_out(own.endpoint))
            check_received(own);
        if (reaped->status == -EPIPE) {
            HostDevice::Borrowed(host_).clear_halt(own.endpoint);
        } else if (reaped->status == 0 && random.chance(knobs_.real("lull"))) {
            // The device's requests wait then, and are there to be cancelled.
            rests_until_ns_[own.endpoint] =
                monotonic_ns() + std::uint64_t{random.logarithmic(20, 8000)} * 1000;
            shared_.count(Counter::lulls);
        }
    }
    return any;
}

void GadgetRace::lose_device() {
    configured_.store(0, std::memory_order_release);
    host_.close(); // usbfs ends what is pending
    for (const auto& own : urbs_)
        own->pending.store(false, std::memory_order_relaxed);
}

void GadgetRace::host_loop(std::uint32_t, Random& random) {
    while (!quiet_.load(std::memory_order_acquire) && !abandoned()) {
        if (!host_.is_open()) {
            if (!host_.open_if_there()) {
                wait_for_change(quiet_, 0, 20 * ms);
                continue;
            }
            configured_.store(1, std::memory_order_release);
            opens_.fetch_add(1, std::memory_order_release);
            wake(opens_, 1);
            wake(configured_, 1);
        }
        bool gone = false;
        bool any = submit_urbs(random, gone);
        any |= reap_urbs(random, gone);
        if (gone) {
            lose_device();
        } else if (!any) {
            const Calling calling(Call::poll);
            host_.until_reapable(1);
        }
    }
    lose_device();
}

} // namespace at
