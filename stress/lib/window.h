// Window control: racers that enter a chosen stretch of a chosen request.
//
//   racer       enlist ········ named ··· wait for A ··· [ call ] ··· finish
//                  |              ^            ^            |
//   submitter      +--- offer ----+ io_submit  |            |        (A before the device's part;
//   itself         +-- in flight -+            |            |         later ones it names itself)
//   request                          ── queue ─┴ A = held = ┴── B ── …
//
// A racer opens an offer (where it wants to be, WindowDirector); the next submitter names one of
// its requests for it, before io_submit(), in a record of the injector's (struct at_try,
// fault/fail_injector.h).  The racer watches that record, without a system call, and does its
// ordinary call when the request has come to A.  A request waits in the ring for long, so for an A
// of the device's or later the racer takes one that is about to leave it.  The injector keeps the
// request at A until the call has entered or returned, or a bound is over, and writes down when
// each phase passed and, by probes on the system calls, when the call began and ended.  Whether the
// two met is judged by these times (judge_meeting), never by the intention.
//
// Where A comes with interrupts off, the injector can hold it for at most 100 us, and only while
// another CPU is online: too short for a thread to be scheduled.  There the racers are assembled at
// irq first, which may be held longer, and most of these interrupts are handled in a thread, as a
// kernel with threaded interrupts does, so that A can be held as long, on one CPU too.
// An offer may be joined by a second racer of any kind: both then enter the same stretch.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "fail_injector.h"

#include "lib/ledger.h"
#include "lib/plan.h"
#include "lib/racer.h"
#include "lib/random.h"
#include "lib/system.h"
#include "lib/window_book.h"
#include "lib/window_director.h"

namespace at {

// Which request.
struct Target {
    std::uint32_t slot = 0;
    std::uint64_t generation = 0;
    std::uint32_t context = 0;
    std::uint32_t incarnation = 0;
};

class WindowControl {
public:
    // nullptr where there is no injector, or no window in the book.  `refuses_cancelled`: a cancel
    // that is accepted before its request is queued keeps that from being started.
    static std::unique_ptr<WindowControl> open(SharedRun& run, double aim, double stretch,
                                               bool refuses_cancelled);
    ~WindowControl();
    WindowControl(const WindowControl&) = delete;
    WindowControl& operator=(const WindowControl&) = delete;

    // Submitters, before io_submit(): does a racer wait for a request?
    // Where the request is before its device part; the racer's own choice, once it is in flight.
    using Chooser = std::function<std::optional<Target>(Random&, bool next)>;
    // Is a racer on its way to the request in that slot?  Its cancellation would end the try.
    bool is_awaited(std::uint32_t slot) const;
    // Does the device, or its interrupt, stand still for somebody?
    bool device_held() const;
    // Is its submitter at it now: past the first mark, and not yet at the last?
    bool being_submitted(std::uint32_t slot, std::uint64_t generation) const;
    // Has the device taken it?
    bool started(std::uint32_t slot, std::uint64_t generation) const;

    bool wanted() const { return open_offers_.load(std::memory_order_relaxed) > 0; }
    // `drawn` and the first are requests of one batch.
    void name_request(const Target& drawn, const Target& first, Random& random);
    // Cancellers: a request whose cancellation somebody wants to enter; max_slots: none.
    std::uint32_t wanted_cancel() {
        return wanted_cancel_.load(std::memory_order_relaxed) == max_slots
                   ? max_slots
                   : wanted_cancel_.exchange(max_slots, std::memory_order_relaxed);
    }

private:
    friend class WindowRacer;
    static constexpr std::size_t max_offers = 64;

    enum class OfferState : std::uint32_t { unused, idle, open, taken, named };
    struct alignas(64) Offer {
        std::atomic<std::uint32_t> state{0}; // OfferState; futex
        Racer racer{};
        // Written by the racer before open, by the submitter before named.
        Placement placement;
        Target target;
        std::uint32_t record = 0;
    };
    // What the racers of one try share beside the injector's record.
    struct alignas(64) Try {
        std::uint32_t number = 0;
        std::uint32_t stretch = 0;
        Racer racer{}; // whose placement it is
        Bin bin{};
        Target target;
        std::uint64_t named_ns = 0; // in flight then; 0: not submitted yet
        bool assembles = false;
        bool harvested = false;
        std::uint32_t racers = 0;
        std::atomic<std::uint32_t> assembled{0};
        std::atomic<std::uint32_t> inside{0};     // racers that have not finished
        std::atomic<bool> charged{false};         // the hold's bound is in held_ns already
        std::atomic<bool> cancelled_early{false}; // accepted while the request was not queued yet
        std::atomic<std::uint64_t> ready_ns{0};   // a racer that is not waited for has woken
        std::atomic<bool> in_use{false};
    };

    WindowControl(SharedRun& run, double aim, bool refuses_cancelled, std::byte* memory,
                  const at_header& header);
    bool is_tried(const Target& target) const;
    Offer* take_offer(Random& random);
    bool take_record(std::uint32_t& record);
    void harvest(std::uint32_t record);
    void judge_start(const at_try& last, Try& own) const;
    void harvest_leads(const at_try& last, const Try& own);
    void give_back(Offer& offer);
    void fill(std::uint32_t record, const Target& target, const Offer& lead, std::uint32_t racers,
              Random& random);
    void hand_out(std::uint32_t record, const Target& target, Offer& lead, Offer* second);
    bool holds_allowed(Stretch stretch) const;

    SharedRun& run_;
    WindowBook& book_;
    const double aim_;
    const bool refuses_cancelled_;
    std::byte* const memory_; // all that the injector maps
    const std::size_t bytes_;
    at_holds* const holds_;
    const std::uint64_t began_ns_;
    std::atomic<std::uint32_t> open_offers_{0};
    std::atomic<std::uint32_t> wanted_cancel_{max_slots};
    std::atomic<std::uint32_t> next_record_{0};
    std::atomic<std::uint32_t> next_offer_{0};
    Offer offers_[max_offers];
    Try tries_[AT_NR_TRIES];
};

// One thread's part in it.  Without window control it never enlists.
class WindowRacer final : public PlacedCall {
public:
    WindowRacer(WindowControl* control, Racer racer);
    ~WindowRacer();
    WindowRacer(const WindowRacer&) = delete;
    WindowRacer& operator=(const WindowRacer&) = delete;

    // True in the share of calls that are aimed, when a submitter named a request within a bound.
    // Then the racer makes its call, or not, and must finish().
    // `choose` names a request in flight that the device has not taken yet.
    bool enlist(Random& random, const WindowControl::Chooser& choose, double share = 1);
    // The same for a call that waits for the request, fsync(2) or poll(2), which the injector does
    // not time: it enters the device's part of one in flight, and is let in as the hold ends.
    bool enlist_to_wait(Random& random, const WindowControl::Chooser& choose);
    const Target& target() const { return target_; }
    void before_call() override;
    void after_call() override;
    // Its io_cancel() said -EINPROGRESS.
    void cancel_accepted();
    void finish();

private:
    using Offer = WindowControl::Offer;
    using OfferState = WindowControl::OfferState;

    bool name_oneself(Random& random, const WindowControl::Chooser& choose);
    void take_part();
    template <typename Ready> bool wait(Ready ready, std::uint64_t bound_ns, bool spins);
    bool request_ended() const;
    void wait_for_hold();
    void wait_unheld();
    // What is seen, of those before A, early enough for the call to be in time.
    std::uint32_t choose_anchor(FreeAim& aim) const;
    FreeAim aim_now() const;
    void expect_call(std::uint32_t arrives, std::uint64_t delay_ns);
    void correct(HeatPair& pair, Miss why) const;
    void arrive(std::uint64_t release_at_ns = 0);
    void keep_off(std::uint32_t cpu);
    void go_anywhere();
    void account();

    WindowControl* const control_;
    const Racer racer_;
    const std::uint32_t tid_;
    std::unique_ptr<WindowDirector> director_;
    std::unique_ptr<WindowDirector> waits_director_;
    Offer* offer_ = nullptr;
    at_call* call_ = nullptr;
    at_try* try_ = nullptr;
    WindowControl::Try* own_ = nullptr;
    Placement placement_;
    Target target_;
    bool called_ = false;
    bool arrived_ = false;
    bool waits_ = false; // enlisted to wait
    bool timed_ = false;
    bool confined_ = false;
    std::uint64_t decided_ns_ = 0;
    std::uint64_t enter_ns_ = 0;
    std::uint64_t exit_ns_ = 0;
};

// The share of calls that are placed: the plan's `aim`, and half of them for windows it names.
double aim_of(const Plan& plan, const KnobValues& knobs);

// Fills the book's windows: those of the plan, or, when it names none, all that `racers` can enter.
void choose_windows(WindowBook& book, const std::vector<Window>& planned,
                    const bool (&racers)[racers_count], std::uint64_t timeout_ns);

} // namespace at
