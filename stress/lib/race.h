// The race: contexts, slots and buffers, and the four roles that share them.
//
// A time-line of one request; every racer may meet every other anywhere on it:
//
//   submitter   draw, fill ── io_submit ──────────────┐ judge, watch, reuse
//   device                     └─ queue ─ start ─ irq ─ complete
//   canceller                 ···· io_cancel ····       │
//   destroyer       ······ io_destroy ······            │
//   reaper                                io_getevents ─┴ verify, re-pattern
//
// Buffers are memory of the supervisor (SharedMemory).  A slot's whole buffer carries the slot's
// canary, but for the payload of a write that is in flight; a read must replace it with the
// device's bytes and touch nothing else.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include <libaio.h>

#include "lib/driver_state.h"
#include "lib/ledger.h"
#include "lib/oracles/contract.h"
#include "lib/oracles/residue.h"
#include "lib/oracles/timing.h"
#include "lib/random.h"
#include "lib/ready_claim.h"
#include "lib/request_shapes.h"
#include "lib/ring_arena.h"
#include "lib/scenario.h"
#include "lib/stressor.h"
#include "lib/stretched_time.h"
#include "lib/system.h"
#include "lib/window.h"

namespace at {

// Defaults with requests of every shape, and time to answer judged: for a scenario in which nothing
// but the racers and the device's faults makes a request wait.
std::map<std::string_view, const char*>
with_all_shapes(std::map<std::string_view, const char*> defaults);
// The knobs every scenario has, with the defaults that one wants otherwise.
std::vector<Knob> common_knobs(const std::map<std::string_view, const char*>& defaults);

// Sizes that follow from the knobs; throws PlanError when they do not fit together.
struct Geometry {
    std::uint32_t submitters;
    std::uint32_t depth;
    std::uint32_t slots;
    std::uint32_t contexts;
    std::uint32_t devices;
    std::uint32_t max_length;
    std::uint32_t buffer_stride;
    std::uint64_t device_bytes;
    std::uint64_t region_bytes; // of a slot, in its device's memory
    std::uint32_t align;        // of offsets, lengths and addresses
    std::uint64_t buffers_bytes() const { return std::uint64_t{slots} * buffer_stride; }
};
Geometry geometry_of(const KnobValues& knobs);

class Race {
public:
    Race(const RaceSetup& setup, SharedRun& shared, std::byte* buffers);
    ~Race();

    // The scenario calls these.
    void start_submitters();
    void start_cancellers();
    void start_reapers();
    void start_destroyers();
    void until_contended();
    // Until a seeded moment of this life (knob `lives`), which then ends as the knob `end` says,
    // with the racers wherever they are.  Returns only when the run was ended before.
    void until_death();

    // What the scenario has beside the four racers ("disturbers") runs in threads of its own, with
    // the tools of racer.h: Calling around each call that may block, pause() for any wait.
    using Body = std::function<void(std::uint32_t index, Random random)>;
    // Threads that read what the driver shows in debugfs, most of all in lulls, and pollers.
    void start_onlookers();
    void start_disturbers(std::uint32_t count, Body body);
    // Counts what a disturber did while requests were in flight, as its own and among all.
    void disturbed(Counter counter) {
        shared_.count(counter);
        shared_.count(Counter::disturbed);
    }
    bool stopped() const { return shared_.stop.load(std::memory_order_relaxed) != 0; }
    void pause(std::uint64_t ns); // until that long is over, or the race
    // For a drawn time: short and long come alike, or, in blind stress, each as likely as any
    // other.
    void pause_drawn(Random& random, std::uint32_t least_us, std::uint32_t most_us);
    bool blind() const { return blind_; }
    bool bytes_stored() const { return bytes_stored_; } // what was written can be read
    const KnobValues& knobs() const { return knobs_; }
    const Permitted& permitted() const { return permitted_; }
    const Geometry& geometry() const { return geometry_; }
    SharedRun& shared() { return shared_; }
    const std::string& device_path() const { return setup_.device; }
    int device_fd(std::uint32_t device) const { return devices_[device].get(); }
    std::uint64_t seed() const { return setup_.plan.seed; }
    bool requests_in_flight() const; // of any context
    // Slots of reads in flight that the device has not begun with, as far as marks tell; of those
    // submitted last, at most `most`.
    std::vector<std::uint32_t> reads_not_begun(std::uint32_t most) const;
    // Until some thread is in that call; false when none was for `bound_ns`.
    bool until_somebody_is_in(Call call, std::uint64_t bound_ns) const;
    void harness_error(const std::string& text);

    // From here on the buffers are private memory of this process, for what fork and munmap do to
    // it; the supervisor watches nothing then.  Before the submitters start.
    void use_private_buffers();
    bool buffers_are_private() const { return buffers_private_; }
    std::byte* buffer(std::uint32_t slot) const {
        return buffers_ + std::uint64_t{slot} * geometry_.buffer_stride;
    }
    // Changes the mapping of a flying request's buffer: replaced, discarded, moved or protected.
    // Waits for the request's answer and settles it.  False: none was flying.
    bool remap_one(Random& random);
    // From here on this process forks: no buffer's access rights are taken, so that children can
    // look at them, and children do not get what is known of the device's memory, which is most of
    // what a fork would copy.
    void expect_children();
    // The race ends by SIGKILL in mid-flight, as with the knob exit_kill.
    void end_by_kill() { killed_at_end_ = true; }
    // What the race drew for itself, as the run tells it.
    void tell_drawn(const std::string& text);
    // Gives the ring of a live context another address.  False: it was not to be had.
    bool move_ring(Random& random);
    // A thread of a storm: with all others it cancels one request at the same moment.
    void storm_loop(std::uint32_t index, std::uint32_t threads, Random random);

    // The device may go: ENODEV and time-outs are answers then, and no end of the race.
    void expect_removal();
    // A call that waits for requests, and has work of its own for as long as `work_ns`, returns
    // when the last of them must have ended.
    void within_bounds(const char* call, std::uint64_t work_ns, const std::function<void()>& body);
    // The same of a call that waits for no request: those of its file have ended.
    void within_wake_up(const char* call, const std::function<void()>& body);
    // Around a replacement by a device that holds other bytes.
    bool being_replaced() const {
        return shared_.device_epoch.load(std::memory_order_relaxed) % 2 != 0;
    }
    void begin_replacement() { shared_.device_epoch.fetch_add(1, std::memory_order_seq_cst); }
    void end_replacement() { shared_.device_epoch.fetch_add(1, std::memory_order_seq_cst); }
    // Before device_fd() becomes the descriptor of another device's file.
    void begin_file_replacement() { files_replaced_.fetch_add(1, std::memory_order_seq_cst); }

    // The stressor's main: opens, runs the scenario, drains, closes.  False: could not be run.
    bool run();

private:
    struct SubmitterState;
    void start(Role role, std::uint32_t count,
               std::function<void(std::uint32_t index, Random random)> body,
               std::uint32_t first_stream = 0);
    bool contended() const;
    void drain();
    void end_contexts();

    void submit_loop(std::uint32_t index, Random random);
    void cancel_loop(std::uint32_t index, Random random);
    void reap_loop(std::uint32_t index, Random random);
    void destroy_loop(std::uint32_t index, Random random);

    bool recycle(std::uint32_t slot, Random& random);
    std::uint32_t length_at_limit(Random& random) const;
    bool prepare_next(std::uint32_t slot, Random& random, double sync_share);
    void draw_request(std::uint32_t slot, Random& random, double sync_share);
    void prepare_iocb(std::uint32_t slot, std::uint64_t generation);
    void synchronous(std::uint32_t slot);
    // Into `context`, or, when that is max_contexts, into one that is drawn.
    std::size_t submit_batch(std::vector<std::uint32_t>& slots, Random& random,
                             std::uint32_t context = max_contexts);
    void refuse(std::uint32_t slot);
    void draw_other(std::uint32_t slot, Random& random);
    class BoundedWait;
    class FsyncWatch;
    class KeptWatch;
    class WaitWatch;
    void sync_file(std::uint32_t submitter, Random& random);
    void overtaken_by_fsync(const std::vector<std::pair<std::uint32_t, std::uint64_t>>& before,
                            std::uint64_t returned_ns, bool own_file);
    std::vector<std::pair<std::uint32_t, std::uint64_t>> flying_of(std::uint32_t submitter) const;
    std::int64_t under_way(bool reads) const; // transfers of that direction
    std::vector<DriverRequest> kept_requests(std::uint32_t submitter) const;
    void await_given_back(std::uint32_t submitter);
    bool keep_load();
    void release_load();
    void read_at_position(std::uint32_t submitter, Random& random);
    void synchronous_last(std::uint32_t submitter, Random& random);
    void await_sleepers(std::uint32_t submitter);
    void lull(std::uint32_t submitter, Random& random, WindowRacer& racer);
    void watch_sleepers();
    // `reads`: for which direction; else one that has no room.
    void poll_until_idle(std::uint32_t submitter, Random& random,
                         std::optional<bool> reads = std::nullopt);
    void judge_timing(Slot& slot, std::uint32_t index);
    void note_late(LateKind kind, std::uint32_t index, std::uint64_t begin_ns,
                   std::uint64_t end_ns);

    // Which outcome of a race between cancel and completion has come more seldom so far.
    enum class Sought { either, win, loss };
    Sought scarce_outcome() const;
    bool behind_pace() const;

    // Of a batch with one that must not wait, before its call: the cookies of what is in flight,
    // where that is more than the ring holds, and the ring, where it is halted.  What became of it
    // when the call is over.
    struct BesideNowait {
        std::vector<std::uint64_t> others;
        std::optional<RingState> halted;
    };
    BesideNowait beside_nowait(const std::vector<std::uint32_t>& batch);
    void judge_nowaits(const std::vector<std::uint32_t>& batch, const BesideNowait& beside);

    // Memory that is no user's, as io_uring's registered buffers are, is refused by zcdma.
    void offer_registered_buffer();

    // A lull in which this racer does nothing: true after a moment of it.
    bool keeps_still();

    // Window control (race_window.cpp): true when a placed call was made in place of a blind one.
    bool placed_cancel(WindowRacer& racer, Random& random);
    bool placed_reap(WindowRacer& racer, Random& random);
    bool placed_destroy(WindowRacer& racer, Random& random);
    bool placed_fsync(WindowRacer& racer, std::uint32_t submitter, Random& random);
    bool placed_poll(WindowRacer& racer, std::uint32_t submitter, Random& random);
    static void end_placement(WindowRacer& racer);
    bool enlist(WindowRacer& racer, Random& random, double share = 1) const;
    Target target_of(std::uint32_t index, std::uint64_t word) const;
    std::optional<Target> waiting_in_ring(const SubmitterState& submitter,
                                          std::uint32_t pass) const;
    std::optional<Target> next_to_start(Random& random, bool next) const;
    std::optional<Target> last_to_start() const;
    std::optional<Target> makes_room(bool reads) const;
    void name_requests(const std::vector<std::uint32_t>& slots, Random& random);

    void spin(Random& random) const;     // a seeded time, at most spin_max
    bool cancel_one(std::uint32_t slot); // true: it was accepted
    std::uint32_t choose_target(Random& random);
    std::uint32_t any_in_flight(Random& random) const;
    std::uint32_t in_submission(Random& random) const;

    int reap(std::uint32_t context, long min_nr, std::uint64_t timeout_ns);
    void on_event(const io_event& event, bool destroyed, std::uint64_t ring_empty_ns);
    // Verify and re-pattern; the caller owns the slot.  `memory`: where the buffer's pages are now;
    // nullptr: nobody can see them any more.
    void settle(std::uint32_t slot, std::byte* memory);
    void forget_replaced(const Slot& slot, Region& region) const;

    bool make_context(std::uint32_t context);
    void sweep(std::uint32_t context);
    bool destroy(std::uint32_t context, Random& random);

    // The device was held for racers, or the driver drawn out, in sum.
    std::uint64_t held_ns() const;
    // When a wait began, by both clocks that it is judged by.
    struct Since {
        std::uint64_t healthy_ns = 0, held_ns = 0;
    };
    Since since_now() const;
    // Healthy time since then in which nothing was held.
    std::uint64_t undisturbed_ns(const Since& since) const;
    bool stalled_during(const Slot& slot) const;
    bool stood_still_since(std::uint64_t ns) const;

    const RaceSetup& setup_;
    const KnobValues& knobs_;
    const Geometry geometry_;
    const std::int64_t cancelled_errno_;
    const bool bytes_stored_;
    const bool bytes_judged_;
    Permitted permitted_;
    const bool cancel_stops_ring_; // the driver's way of it, for whichever request
    bool removal_expected_ = false;
    const bool cancellers_; // the scenario has some
    const bool blind_;
    const WaitBounds wait_bounds_;
    SharedRun& shared_;
    std::byte* const buffers_;
    bool killed_at_end_;
    bool children_look_ = false;
    bool buffers_private_ = false;
    std::uint32_t disturbers_ = 0;
    std::vector<Fd> devices_;
    std::atomic<std::uint32_t> files_replaced_{0};
    std::vector<iocb> iocbs_;
    std::vector<iovec> iovecs_;
    std::vector<Region> regions_;
    std::vector<std::unique_ptr<SubmitterState>> submitters_;
    std::vector<std::thread> threads_;
    std::vector<std::thread> reapers_;
    std::atomic<std::uint32_t> boards_used_{0};
    std::atomic<std::uint32_t> quiet_{0};       // reapers may end: all was answered
    std::atomic<std::uint32_t> submissions_{0}; // bumped by each io_submit; futex
    std::atomic<std::uint32_t> submission_waiters_{0};
    std::atomic<std::uint64_t> begun_ns_{
        0};                               // when the last request was, or a synchronous one ended
    std::atomic<std::uint32_t> lulls_{0}; // a bit for each submitter that waits for its last
    std::atomic<std::uint32_t> still_{0}; // … and in whose lull nobody cancels or destroys either
    // Beside one fsync in two no lull begins: it waits for those before it while others keep
    // coming.
    enum class Load : std::uint32_t { free, kept, lull_due };
    std::atomic<Load> load_{Load::free};
    std::atomic<std::uint32_t> load_keeper_{max_slots}; // the slot of that fsync, if it has one
    PrivateBuffers private_;
    BadMemory bad_memory_;
    std::optional<ReadOnlyTwin> read_only_;
    RingArena rings_;
    std::atomic<std::uint32_t> nodev_seen_{0};
    std::unique_ptr<WindowControl> windows_;   // none: blind
    bool drawn_out_ = false;                   // the plan has sites
    std::unique_ptr<StretchedTime> stretched_; // none: nothing is drawn out
    std::atomic<std::uint32_t> storm_target_{max_slots};
    std::atomic<std::uint32_t> storm_{0};   // the number of the storm that rages
    std::atomic<std::uint32_t> stormed_{0}; // threads that are done with it
    ReadyClaim ready_claim_;
    std::atomic<std::uint32_t> sleeps_{0}; // bumped by whoever is about to sleep in poll(2)
    std::atomic<std::uint64_t> next_nowait_look_ns_{0};
    std::atomic<std::uint64_t> next_halt_look_ns_{0};
    double sync_ratio_;
};

} // namespace at
