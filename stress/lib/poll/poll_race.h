// The race of polls: who waits for files, who wakes them, who cancels, closes and destroys.
//
//   submitter   draw ── io_submit ─ vfs_poll ─┬─ on the queue ───────────┐ judge, reuse
//   tender      ···· ready · drain · hang up · close ····                │
//   kworker                                   └ aio_poll_complete_work ──┤
//   canceller               ···· io_cancel ····                          │
//   destroyer      ······ io_destroy ······                              │
//   reaper                                            io_getevents ──────┴ book
//
// Each station (lib/poll/station.h) has `per_file` slots of its own, so that a slot's file is
// known by its number.  One tender owns a station; it alone changes what the file is.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <libaio.h>

#include "lib/poll/poll_books.h"
#include "lib/poll/station.h"
#include "lib/random.h"
#include "lib/ring_arena.h"
#include "lib/stressor.h"

namespace at {

// Knobs of a poll scenario, with the defaults that one wants otherwise.
std::vector<Knob> poll_knobs(const std::map<std::string_view, const char*>& defaults);

std::unique_ptr<Stressor> make_poll_stressor(const RaceSetup& setup);

class PollRace {
public:
    PollRace(const RaceSetup& setup, SharedRun& shared, PollBooks& books);
    ~PollRace();
    PollRace(const PollRace&) = delete;
    PollRace& operator=(const PollRace&) = delete;

    // The stressor's main.  False: could not be run.
    bool run();

private:
    enum class PlaceState : std::uint32_t { open, closing };
    enum class Ending { hang_up, bury_and_wake, bury_and_cancel };

    // A station and who may use its descriptor.  `state` and `users` are a Dekker pair (seq_cst).
    struct Place {
        std::unique_ptr<Station> station;
        std::atomic<PlaceState> state{PlaceState::open};
        std::atomic<std::uint32_t> users{0};
        std::atomic<std::uint64_t> held_ns{0}; // when the file was last made ready to be held
        // The tender's own.
        bool quiet = false; // nobody makes it ready in this incarnation
        bool armed = false; // woken to be held, and not yet seen ready
        bool let_go = false;
        Ending ending = Ending::hang_up;
        std::uint64_t let_go_healthy_ns = 0;
    };
    class Using;

    void harness_error(const std::string& text);
    bool stopped() const { return shared_.stop.load(std::memory_order_relaxed) != 0; }
    bool abandoned() const { return shared_.abandon.load(std::memory_order_relaxed) != 0; }
    void start(Role role, const char* knob,
               void (PollRace::*body)(std::uint32_t index, Random& random));
    bool contended() const;
    bool set_up();
    void drain();
    void final_wakes();

    void submit_loop(std::uint32_t index, Random& random);
    bool recycle(std::uint32_t slot);
    void judge_slot(std::uint32_t slot);
    void draw(std::uint32_t slot, Random& random);
    void submit(std::uint32_t station, std::vector<std::uint32_t>& slots, Random& random);
    void announce();

    void cancel_loop(std::uint32_t index, Random& random);
    std::uint32_t choose(Random& random);
    void cancel(std::uint32_t slot, Random& random);

    void reap_loop(std::uint32_t index, Random& random);
    int reap(std::uint32_t context, long min_nr, std::uint64_t timeout_ns);
    void on_event(const io_event& event, bool destroyed);

    void tend_loop(std::uint32_t index, Random& random);
    void build(std::uint32_t index, Random& random);
    void tend(std::uint32_t index, Random& random);
    void wake_and_hold(std::uint32_t index, Random& random);
    void flicker(std::uint32_t index, Random& random);
    void begin_closing(std::uint32_t index, Random& random);
    void go_on_closing(std::uint32_t index, Random& random);
    bool some_slot(std::uint32_t station, const std::function<bool(std::uint32_t)>& is) const;
    bool waits(std::uint32_t slot) const;
    bool hears(std::uint32_t slot) const;

    void destroy_loop(std::uint32_t index, Random& random);
    bool destroy(std::uint32_t context, Random& random);
    bool make_context(std::uint32_t context);
    void sweep(std::uint32_t context);

    const RaceSetup& setup_;
    const KnobValues& knobs_;
    SharedRun& shared_;
    PollBooks& books_;
    const std::uint32_t stations_;
    const std::uint32_t per_file_;
    const std::uint32_t slots_;
    const std::uint32_t contexts_;
    const std::uint32_t submitters_;
    const std::uint32_t tenders_;
    const std::vector<FileKind> kinds_;
    const bool hold_signals_; // signals are what this run is about
    const std::string plant_;
    std::vector<Place> places_;
    std::vector<iocb> iocbs_;
    Fd grave_; // never ready; stands in for a descriptor that is being closed
    Fd sink_;  // eventfd that completions are told to
    RingArena rings_;
    std::vector<std::thread> threads_;
    std::vector<std::thread> reapers_;
    std::atomic<std::uint32_t> boards_used_{0};
    std::atomic<std::uint32_t> quiet_{0};
    std::atomic<std::uint32_t> submissions_{0}; // bumped by each io_submit; futex
    std::atomic<std::uint32_t> submission_waiters_{0};
    std::atomic<std::uint32_t> answered_{0}; // bumped by events; futex
    std::atomic<std::uint32_t> answer_waiters_{0};
    std::atomic<std::uint32_t> last_touched_{0};   // station
    std::atomic<std::uint32_t> last_submitted_{0}; // slot
};

} // namespace at
