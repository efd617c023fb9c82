// The race of a gadget's endpoints: both ends of one USB cable, in one process.
//
//   submitter   draw ── io_submit ─ usb_ep_queue ─┬─ on the endpoint ──────────┐ judge, reuse
//   host        ···· URBs · discards · lulls · halts · resets ····             │
//   kworker                                       └ copy, ki_complete ─────────┤
//   canceller               ···· io_cancel ─ usb_ep_dequeue ····               │
//   destroyer      ······ io_destroy ······                                    │
//   binder         ······ unbind, pull the cable, close ······                 │
//   reaper                                                io_getevents ────────┴ book
//
// Slot s belongs to endpoint s % endpoints.  Every packet names itself (lib/usb/packets.h), so each
// end checks what the other sent, and that nothing came twice.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <libaio.h>
#include <sys/uio.h>

#include "lib/random.h"
#include "lib/ring_arena.h"
#include "lib/stressor.h"
#include "lib/usb/gadget.h"
#include "lib/usb/gadget_books.h"
#include "lib/usb/host_device.h"

namespace at {

// Knobs of a gadget scenario, with the defaults that one wants otherwise.
std::vector<Knob> gadget_knobs(const std::map<std::string_view, const char*>& defaults);

std::unique_ptr<Stressor> make_gadget_stressor(const RaceSetup& setup);

class GadgetRace {
public:
    GadgetRace(const RaceSetup& setup, SharedRun& shared, GadgetBooks& books);
    ~GadgetRace();
    GadgetRace(const GadgetRace&) = delete;
    GadgetRace& operator=(const GadgetRace&) = delete;

    // The stressor's main.  False: could not be run.
    bool run();

private:
    struct HostUrb;

    void harness_error(const std::string& text);
    bool stopped() const { return shared_.stop.load(std::memory_order_relaxed) != 0; }
    bool abandoned() const { return shared_.abandon.load(std::memory_order_relaxed) != 0; }
    std::uint32_t endpoint_of(std::uint32_t slot) const { return slot % endpoints_; }
    void start(Role role, std::uint32_t count,
               void (GadgetRace::*body)(std::uint32_t index, Random& random));
    bool contended() const;
    bool set_up();
    bool until_configured(std::uint64_t bound_ns);
    void drain();
    void end_what_waits();

    // --- the device's end: gadget_race.cpp
    void rest_off_the_bus();
    void submit_loop(std::uint32_t index, Random& random);
    bool recycle(std::uint32_t slot);
    void judge_slot(std::uint32_t slot);
    void check_read(std::uint32_t slot);
    void draw(std::uint32_t slot, Random& random);
    void submit(std::vector<std::uint32_t>& slots, Random& random);
    void cancel_loop(std::uint32_t index, Random& random);
    std::uint32_t choose(Random& random) const;
    void cancel(std::uint32_t slot, Random& random);
    void reap_loop(std::uint32_t index, Random& random);
    long reap(std::uint32_t context, long min_nr, std::uint64_t timeout_ns);
    void on_event(const io_event& event, bool destroyed);
    void destroy_loop(std::uint32_t index, Random& random);
    bool make_context(std::uint32_t context);

    // --- the host's end: gadget_host.cpp
    void make_urbs();
    void host_loop(std::uint32_t index, Random& random);
    bool submit_urbs(Random& random, bool& gone);
    bool reap_urbs(Random& random, bool& gone);
    void lose_device();
    void check_received(const HostUrb& urb);
    void check_packet_in(std::uint32_t endpoint, const std::byte* bytes, std::size_t length);
    void check_owed(std::uint32_t slot, std::uint64_t generation);

    // --- who disturbs: gadget_disturb.cpp
    void molest_loop(std::uint32_t index, Random& random);
    void bind_loop(std::uint32_t index, Random& random);
    bool until_reopened(std::uint32_t opens);
    void reopen(Random& random);
    void send_passers_by(std::uint32_t count);
    // Requests may be answered ESHUTDOWN from the act on; `comes_back`: until it is over.
    void disable_endpoints(bool comes_back, const std::function<void()>& act);

    const RaceSetup& setup_;
    const KnobValues& knobs_;
    SharedRun& shared_;
    GadgetBooks& books_;
    const std::uint32_t endpoints_;
    const std::uint32_t slots_;
    const std::uint32_t contexts_;
    const std::uint32_t submitters_;
    const std::uint32_t max_bytes_;
    std::unique_ptr<Gadget> gadget_;
    std::vector<iocb> iocbs_;
    std::vector<std::array<iovec, 4>> vectors_;
    std::vector<std::byte> buffers_;
    RingArena rings_;

    // What the host received, and what it is owed.  A slot's generation has one entry of a ring:
    // disablings << 8 | packets that a write was answered for.
    static constexpr std::uint32_t owed_kept = 64;
    struct Received {
        std::uint64_t generation = 0; // the newest that was seen
        std::uint32_t packets = 0;    // of it
    };
    std::vector<std::array<std::atomic<std::uint64_t>, owed_kept>> owed_;
    std::vector<Received> received_;
    // OUT packets that some read was given: name of the packet + 1, by its low bits.
    static constexpr std::size_t delivered_kept = std::size_t{1} << 16;
    std::array<std::vector<std::atomic<std::uint64_t>>, max_endpoints> delivered_;

    HostDevice host_;
    std::vector<std::unique_ptr<HostUrb>> urbs_;
    std::array<std::uint64_t, max_endpoints> sent_{};
    std::array<std::uint64_t, max_endpoints> rests_until_ns_{};
    std::mutex disabling_; // one reason at a time
    std::atomic<std::uint32_t> configured_{0};
    std::atomic<std::uint32_t> opens_{0}; // times that the host found the device; futex
    std::atomic<std::uint32_t> hurry_{0}; // no lulls any more: the race is ending

    std::vector<std::thread> threads_;
    std::vector<std::thread> hosts_;
    std::vector<std::thread> reapers_;
    std::atomic<std::uint32_t> boards_used_{0};
    std::atomic<std::uint32_t> quiet_{0};
    std::atomic<std::uint32_t> submissions_{0}; // bumped by each io_submit; futex
    std::atomic<std::uint32_t> answered_{0};    // bumped by events; futex
    std::atomic<std::uint32_t> last_submitted_{0};
};

} // namespace at
