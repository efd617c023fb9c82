#include "lib/poll/poll_race.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/futex.h"
#include "lib/kioctx.h"
#include "lib/oracles/calls.h"
#include "lib/oracles/contract.h"
#include "lib/oracles/leak.h"
#include "lib/oracles/poll_contract.h"
#include "lib/racer.h"

namespace at {

namespace {

constexpr std::uint64_t ms = 1000000;
// The file of a request is dropped after its event was booked, maybe from a kthread's later work.
constexpr std::uint64_t release_bound_ns = 3000 * ms;

// How long after a wake-up its requests may still be cancelled; a few jiffies.
constexpr std::uint64_t race_ns = 8 * ms;

std::uint32_t number(const KnobValues& knobs, const char* name) {
    return static_cast<std::uint32_t>(knobs.integer(name));
}

} // namespace

// Inside a station: its descriptor's number stays what it is, though the file may be replaced.
class PollRace::Using {
public:
    explicit Using(Place& place) : place_(place) {
        place_.users.fetch_add(1, std::memory_order_seq_cst);
        usable_ = place_.state.load(std::memory_order_seq_cst) == PlaceState::open;
    }
    ~Using() { place_.users.fetch_sub(1, std::memory_order_seq_cst); }
    Using(const Using&) = delete;
    Using& operator=(const Using&) = delete;
    explicit operator bool() const { return usable_; }
    bool undisturbed() const {
        return place_.state.load(std::memory_order_seq_cst) == PlaceState::open;
    }

private:
    Place& place_;
    bool usable_;
};

PollRace::PollRace(const RaceSetup& setup, SharedRun& shared, PollBooks& books)
    : setup_(setup), knobs_(setup.bound.knobs), shared_(shared), books_(books),
      stations_(number(knobs_, "files")), per_file_(number(knobs_, "per_file")),
      slots_(stations_ * per_file_), contexts_(number(knobs_, "contexts")),
      submitters_(number(knobs_, "submitters")), tenders_(number(knobs_, "tenders")),
      kinds_(kinds_named(knobs_.text("files_of"))),
      hold_signals_(knobs_.text("files_of").starts_with("signalfd")), plant_(knobs_.text("plant")),
      places_(stations_), iocbs_(slots_) {}

PollRace::~PollRace() = default;

void PollRace::harness_error(const std::string& text) {
    if (shared_.harness_errors.fetch_add(1, std::memory_order_acq_rel) == 0)
        std::snprintf(shared_.harness_error, sizeof shared_.harness_error, "%s", text.c_str());
    shared_.stop.store(1, std::memory_order_release);
}

void PollRace::start(Role role, const char* knob,
                     void (PollRace::*body)(std::uint32_t index, Random& random)) {
    for (std::uint32_t i = 0; i < number(knobs_, knob); ++i) {
        const std::uint32_t board = boards_used_.fetch_add(1, std::memory_order_relaxed);
        auto thread = std::thread([this, role, i, board, body] {
            Calling::attach(shared_.threads[board], role);
            try {
                Random random(setup_.plan.seed, static_cast<std::uint64_t>(role), i);
                (this->*body)(i, random);
            } catch (const std::exception& error) {
                harness_error(std::string(role_name(role)) + ": " + error.what());
            }
            Calling::detach();
        });
        (role == Role::reaper ? reapers_ : threads_).push_back(std::move(thread));
    }
}

bool PollRace::contended() const {
    if (shared_.value(Counter::submitted) < static_cast<std::uint64_t>(knobs_.integer("requests")))
        return false;
    for (const auto& [name, minimum] : setup_.bound.scenario->contention)
        for (std::uint32_t i = 0; i < counters_count; ++i)
            if (name == counter_name(static_cast<Counter>(i)) &&
                shared_.value(static_cast<Counter>(i)) < minimum)
                return false;
    return true;
}

// --- the stressor's main -------------------------------------------------------------------------

bool PollRace::set_up() {
    // Signals are what signalfds hear; every thread that is started later inherits the mask.
    sigset_t set;
    sigemptyset(&set);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal)
        sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::string why;
    if (!rings_.reserve(why)) {
        harness_error(why);
        return false;
    }
    grave_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    sink_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!grave_ || !sink_)
        throw_errno("eventfd");
    Random random(setup_.plan.seed, 98, 0);
    for (std::uint32_t i = 0; i < stations_; ++i)
        build(i, random);
    for (std::uint32_t i = 0; i < contexts_; ++i)
        if (!make_context(i))
            return false;
    return true;
}

bool PollRace::run() {
    Calling::attach(shared_.threads[boards_used_.fetch_add(1, std::memory_order_relaxed)],
                    Role::main);
    if (!set_up())
        return false;
    shared_.stage.store(Stage::running, std::memory_order_release);
    start(Role::reaper, "reapers", &PollRace::reap_loop);
    start(Role::submitter, "submitters", &PollRace::submit_loop);
    start(Role::tender, "tenders", &PollRace::tend_loop);
    start(Role::canceller, "cancellers", &PollRace::cancel_loop);
    start(Role::destroyer, "destroyers", &PollRace::destroy_loop);
    const std::uint64_t until =
        coarse_ns() + static_cast<std::uint64_t>(knobs_.nanoseconds("time"));
    while (!stopped() && !contended() && coarse_ns() < until)
        wait_for_change(shared_.stop, 0, 5 * ms);
    if (knobs_.integer("exit_kill") && !stopped()) {
        // The racers go on; the supervisor's SIGKILL ends them and this process.
        shared_.stage.store(Stage::kill_me, std::memory_order_release);
        while (!stopped())
            wait_for_change(shared_.stop, 0, 100 * ms);
    }
    drain();
    Calling::detach();
    return shared_.harness_errors.load(std::memory_order_acquire) == 0;
}

void PollRace::drain() {
    shared_.stage.store(Stage::draining, std::memory_order_release);
    shared_.stop.store(1, std::memory_order_release);
    wake(submissions_, INT_MAX);
    wake(answered_, INT_MAX);
    for (std::thread& thread : threads_)
        thread.join();
    final_wakes();
    quiet_.store(1, std::memory_order_release);
    for (std::thread& thread : reapers_)
        thread.join();
    if (abandoned())
        return;
    // Two events for one request may be apart: what is still in a ring now is one too many.
    for (std::uint32_t i = 0; i < contexts_; ++i)
        while (reap(i, 0, 0) > 0) {
        }
    for (std::uint32_t slot = 0; slot < slots_; ++slot)
        recycle(slot);
    end_contexts(shared_, contexts_);
    shared_.stage.store(Stage::done, std::memory_order_release);
}

// Every file is made ready for good, so that every request that hears it must end; the rest is
// cancelled and must end too.  Bounded by the supervisor, which abandons the run.
void PollRace::final_wakes() {
    Random random(setup_.plan.seed, 97, 0);
    for (std::uint32_t i = 0; i < stations_; ++i) {
        Place& place = places_[i];
        std::atomic<std::uint64_t>& word = books_.stations[i].word;
        if (place.let_go || (rules_of(place.station->kind()).signals_by_work && !hold_signals_))
            continue;
        books_.stations[i].touched.store(1, std::memory_order_release);
        place.station->ready(0);
        for (int tries = 0; tries < 1000 && !place.station->is_ready(); ++tries)
            usleep(100);
        if (place.station->is_ready())
            word.store(((word.load(std::memory_order_relaxed) | station_held) + station_epoch),
                       std::memory_order_release);
    }
    for (std::uint32_t i = 0; i < stations_; ++i) {
        const bool wakes =
            books_.stations[i].word.load(std::memory_order_relaxed) & (station_held | station_hung);
        while (wakes && !abandoned() &&
               some_slot(i, [&](std::uint32_t slot) { return waits(slot) && hears(slot); }))
            wait_for_change(shared_.abandon, 0, 1 * ms);
    }
    while (!abandoned()) {
        bool left = false;
        for (std::uint32_t slot = 0; slot < slots_; ++slot)
            if (waits(slot)) {
                left = true;
                if (!shared_.slots[slot].einprogress.load(std::memory_order_relaxed))
                    cancel(slot, random);
            }
        if (!left)
            return;
        wait_for_change(shared_.abandon, 0, 1 * ms);
    }
}

// --- what a slot's request is about --------------------------------------------------------------

bool PollRace::waits(std::uint32_t slot) const {
    return in_flight(state_of(shared_.slots[slot].word.load(std::memory_order_acquire)));
}

bool PollRace::hears(std::uint32_t slot) const {
    const PollSlotBook& poll = books_.slots[slot];
    if (poll.uncertain.load(std::memory_order_relaxed))
        return false;
    const StationBook& book = books_.stations[slot / per_file_];
    const auto kind = static_cast<FileKind>(book.kind.load(std::memory_order_relaxed));
    return book.word.load(std::memory_order_relaxed) & station_hung ||
           poll.asked.load(std::memory_order_relaxed) &
               static_cast<std::uint32_t>(rules_of(kind).interest);
}

bool PollRace::some_slot(std::uint32_t station,
                         const std::function<bool(std::uint32_t)>& is) const {
    for (std::uint32_t i = 0; i < per_file_; ++i)
        if (is(station * per_file_ + i))
            return true;
    return false;
}

// --- tenders -------------------------------------------------------------------------------------

void PollRace::build(std::uint32_t index, Random& random) {
    Place& place = places_[index];
    StationBook& book = books_.stations[index];
    const FileKind kind = kinds_[index % kinds_.size()];
    place.station = std::make_unique<Station>(kind, SIGRTMIN + 2 + static_cast<int>(index % 24));
    if (rules_of(kind).signals_by_work)
        place.station->drain(); // a signal that the last one left pending
    place.quiet = random.below(8) == 0 && !hold_signals_;
    place.armed = false;
    place.let_go = false;
    book.kind.store(static_cast<std::uint32_t>(kind), std::memory_order_relaxed);
    book.touched.store(0, std::memory_order_relaxed);
    book.incarnation.fetch_add(1, std::memory_order_relaxed);
    const std::uint64_t epoch = book.word.load(std::memory_order_relaxed) / station_epoch + 1;
    book.word.store(epoch * station_epoch, std::memory_order_release);
    place.state.store(PlaceState::open, std::memory_order_seq_cst);
}

void PollRace::tend_loop(std::uint32_t index, Random& random) {
    while (!stopped()) {
        const std::uint32_t seen = submissions_.load(std::memory_order_acquire);
        const std::uint32_t own = (stations_ - index + tenders_ - 1) / tenders_;
        for (std::uint32_t i = 0; i < 4; ++i)
            tend(index + tenders_ * random.below(own), random);
        submission_waiters_.fetch_add(1, std::memory_order_relaxed);
        wait_for_change(submissions_, seen, ms / 4);
        submission_waiters_.fetch_sub(1, std::memory_order_relaxed);
    }
}

void PollRace::tend(std::uint32_t index, Random& random) {
    Place& place = places_[index];
    std::atomic<std::uint64_t>& word = books_.stations[index].word;
    if (place.state.load(std::memory_order_relaxed) == PlaceState::closing)
        return go_on_closing(index, random);
    const std::uint64_t now = word.load(std::memory_order_relaxed);
    if (place.armed)
        return wake_and_hold(index, random);
    if (now & station_held) {
        // Who waited when the epoch began must hear of it before anything is taken away.
        if (some_slot(index, [&](std::uint32_t slot) {
                return waits(slot) && hears(slot) &&
                       books_.slots[slot].word.load(std::memory_order_relaxed) != now;
            }))
            return;
        word.store((now & ~station_held) + station_epoch, std::memory_order_release);
        place.station->drain();
        return;
    }
    const double close = knobs_.real("close_ratio");
    if (random.chance(close))
        return begin_closing(index, random);
    if (place.quiet)
        return;
    const bool may_hold = hold_signals_ || !rules_of(place.station->kind()).signals_by_work;
    if (may_hold && random.below(3))
        wake_and_hold(index, random);
    else
        flicker(index, random);
}

void PollRace::wake_and_hold(std::uint32_t index, Random& random) {
    Place& place = places_[index];
    StationBook& book = books_.stations[index];
    if (!place.armed) {
        book.touched.store(1, std::memory_order_release);
        last_touched_.store(index, std::memory_order_relaxed);
        place.station->ready(random.below(200000));
        shared_.count(Counter::wakes);
        place.armed = true;
    }
    if (!place.station->is_ready())
        return; // a timer that is still running; looked at again
    place.armed = false;
    const std::uint64_t now = book.word.load(std::memory_order_relaxed);
    place.held_ns.store(coarse_ns(), std::memory_order_relaxed);
    book.word.store((now | station_held) + station_epoch, std::memory_order_release);
}

void PollRace::flicker(std::uint32_t index, Random& random) {
    Place& place = places_[index];
    books_.stations[index].touched.store(1, std::memory_order_release);
    last_touched_.store(index, std::memory_order_relaxed);
    place.station->ready(random.below(20000));
    shared_.count(Counter::wakes);
    for (std::uint32_t spin = random.logarithmic(1, number(knobs_, "spin_max")); spin; --spin)
        __asm__ __volatile__("" ::: "memory");
    place.station->drain();
}

void PollRace::begin_closing(std::uint32_t index, Random& random) {
    Place& place = places_[index];
    StationBook& book = books_.stations[index];
    const KindRules& rules = rules_of(place.station->kind());
    const bool may_wake = hold_signals_ || !rules.signals_by_work;
    const std::uint32_t how = random.below(3);
    place.ending = how == 0 && rules.peer && !place.quiet ? Ending::hang_up
                   : how == 1 && may_wake && !place.quiet ? Ending::bury_and_wake
                                                          : Ending::bury_and_cancel;
    place.state.store(PlaceState::closing, std::memory_order_seq_cst);
    if (place.ending != Ending::hang_up) {
        place.station->bury(grave_.get()); // while submitters may be in io_submit() with it
        shared_.count(Counter::closes);
    }
    while (place.users.load(std::memory_order_seq_cst))
        sched_yield();
    const std::uint64_t now = book.word.load(std::memory_order_relaxed);
    last_touched_.store(index, std::memory_order_relaxed);
    switch (place.ending) {
    case Ending::hang_up:
        book.touched.store(1, std::memory_order_release);
        place.station->hang_up();
        shared_.count(Counter::hangups);
        book.word.store((now | station_hung) + station_epoch, std::memory_order_release);
        break;
    case Ending::bury_and_wake:
        wake_and_hold(index, random);
        break;
    case Ending::bury_and_cancel:
        place.station->let_go();
        place.let_go = true;
        place.let_go_healthy_ns = shared_.healthy_ns();
        break;
    }
}

void PollRace::go_on_closing(std::uint32_t index, Random& random) {
    Place& place = places_[index];
    if (place.armed)
        return wake_and_hold(index, random);
    bool left = false;
    for (std::uint32_t slot = index * per_file_; slot < (index + 1) * per_file_; ++slot) {
        if (!waits(slot))
            continue;
        left = true;
        if ((place.ending == Ending::bury_and_cancel || !hears(slot)) &&
            !shared_.slots[slot].einprogress.load(std::memory_order_relaxed))
            cancel(slot, random);
    }
    if (left)
        return;
    if (!place.let_go) {
        place.station->let_go();
        place.let_go = true;
        place.let_go_healthy_ns = shared_.healthy_ns();
    }
    if (!place.station->released(std::chrono::milliseconds(0))) {
        const auto finding =
            judge_open_file(kind_name(place.station->kind()),
                            shared_.healthy_ns() - place.let_go_healthy_ns, release_bound_ns);
        if (!finding)
            return;
        shared_.report(*finding);
    }
    build(index, random);
}

// --- submitters ----------------------------------------------------------------------------------

void PollRace::judge_slot(std::uint32_t index) {
    Slot& slot = shared_.slots[index];
    const PollSlotBook& poll = books_.slots[index];
    const StationBook& book = books_.stations[index / per_file_];
    const auto kind = static_cast<FileKind>(book.kind.load(std::memory_order_relaxed));
    const KindRules& rules = rules_of(kind);
    const bool uncertain = poll.uncertain.load(std::memory_order_relaxed);
    PollAnswer answer;
    answer.res = slot.res;
    answer.res2 = slot.res2;
    answer.asked = static_cast<short>(poll.asked.load(std::memory_order_relaxed));
    answer.shows = rules.shows;
    answer.quiet = !uncertain && !rules.sighand_dies &&
                   !book.touched.load(std::memory_order_acquire) &&
                   book.incarnation.load(std::memory_order_relaxed) ==
                       poll.incarnation.load(std::memory_order_relaxed) &&
                   !(answer.asked & POLLOUT & ~rules.interest);
    answer.zero_allowed = rules.sighand_dies || rules.many_queues;
    answer.einprogress = slot.einprogress.load(std::memory_order_relaxed);
    answer.destroyed = slot.destroyed;
    if (auto finding = judge_poll(answer, kind_name(kind))) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.report(*finding);
    }
    if (answer.res == 0 && answer.einprogress) {
        shared_.count(Counter::cancelled);
        shared_.count(Counter::cancel_won);
    } else {
        shared_.count(Counter::cancel_lost, slot.lost_cancels.load(std::memory_order_relaxed));
    }
}

// True when the slot can be used for a new request.
bool PollRace::recycle(std::uint32_t index) {
    return recycle_slot(shared_, index, [this, index] { judge_slot(index); });
}

void PollRace::draw(std::uint32_t index, Random& random) {
    Slot& slot = shared_.slots[index];
    PollSlotBook& poll = books_.slots[index];
    const Station& station = *places_[index / per_file_].station;
    const KindRules& rules = rules_of(station.kind());
    short asked = rules.interest;
    switch (random.below(8)) {
    case 0:
        asked |= rules.interest & POLLIN ? POLLRDNORM : POLLWRNORM;
        break;
    case 1:
        asked |= POLLPRI;
        break;
    case 2:
        asked = random.below(4) ? asked : 0; // hears of errors and hang-ups alone
        break;
    default:
        break;
    }
    poll.station.store(index / per_file_, std::memory_order_relaxed);
    poll.asked.store(static_cast<std::uint32_t>(asked), std::memory_order_relaxed);
    poll.uncertain.store(0, std::memory_order_relaxed);
    for (auto* count : {&slot.einprogress, &slot.ealready, &slot.einval, &slot.lost_cancels})
        count->store(0, std::memory_order_relaxed);
    iocb& cb = iocbs_[index];
    const bool deaf = plant_ == "wake-lost" && random.below(64) == 0;
    io_prep_poll(&cb, station.fd(), deaf ? 0 : asked);
    // A completion that signals the eventfd whose wake-up completed it: eventfd_signal_allowed().
    if (random.chance(knobs_.real("resfd_ratio")))
        io_set_eventfd(
            &cb, station.kind() == FileKind::eventfd_read &&
                         books_.stations[index / per_file_].touched.load(std::memory_order_relaxed)
                     ? station.fd()
                     : sink_.get());
    const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed)) + 1;
    cb.data = reinterpret_cast<void*>(user_data_of(index, generation));
    slot.word.store(slot_word(generation, SlotState::idle), std::memory_order_release);
}

void PollRace::announce() {
    submissions_.fetch_add(1, std::memory_order_release);
    if (submission_waiters_.load(std::memory_order_relaxed))
        wake(submissions_, 1);
}

namespace {

// io_submit() by a process that shares our mm but has signal handlers of its own: they and their
// wait queue are freed when it ends, with our request on it (fs/signalfd.c, signalfd_cleanup()).
int submit_from_child(io_context_t context, long count, iocb** pointers) {
    volatile int answer = -EAGAIN;
    const pid_t child = vfork();
    if (child == 0) {
        const long got = syscall(SYS_io_submit, context, count, pointers);
        answer = got < 0 ? -errno : static_cast<int>(got);
        _exit(0);
    }
    if (child > 0)
        while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
        }
    return answer;
}

} // namespace

void PollRace::submit(std::uint32_t station, std::vector<std::uint32_t>& slots, Random& random) {
    iocb* pointers[64];
    const std::uint32_t context_index = draw_context(shared_, contexts_, random);
    ContextSlot& context = shared_.contexts[context_index];
    const Inside inside(context);
    Place& place = places_[station];
    const Using in_use(place);
    if (!inside || !in_use)
        return;
    const FileKind kind = place.station->kind();
    StationBook& book = books_.stations[station];
    const std::uint32_t incarnation = context.incarnation.load(std::memory_order_relaxed);
    const std::uint64_t now = coarse_ns();
    long count = 0;
    for (const std::uint32_t index : slots) {
        draw(index, random);
        Slot& slot = shared_.slots[index];
        PollSlotBook& poll = books_.slots[index];
        const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed));
        slot.context.store(context_index, std::memory_order_relaxed);
        slot.incarnation.store(incarnation, std::memory_order_relaxed);
        slot.submitted_ns.store(now, std::memory_order_relaxed);
        poll.incarnation.store(book.incarnation.load(std::memory_order_relaxed),
                               std::memory_order_relaxed);
        poll.word.store(book.word.load(std::memory_order_acquire), std::memory_order_relaxed);
        slot.events.store(generation << 8, std::memory_order_release);
        slot.word.store(slot_word(generation, SlotState::prepared), std::memory_order_seq_cst);
        pointers[count++] = &iocbs_[index];
    }
    context.in_flight.fetch_add(static_cast<std::int32_t>(count), std::memory_order_acq_rel);
    last_submitted_.store(slots[random.below(static_cast<std::uint32_t>(count))],
                          std::memory_order_relaxed);
    // Others wake before the call, to meet requests that are being submitted, or after it.
    const bool early = random.below(2);
    if (early)
        announce();
    int answer = 0;
    {
        const Calling calling(Call::io_submit);
        if (kind == FileKind::signalfd_foreign) {
            answer = submit_from_child(inside.id(), count, pointers);
            shared_.count(Counter::freed_queues);
        } else {
            answer = io_submit(inside.id(), count, pointers);
        }
    }
    shared_.count(Counter::submit_calls);
    const bool undisturbed = in_use.undisturbed();
    const long accepted = std::max(answer, 0);
    for (long i = 0; i < count; ++i) {
        const std::uint32_t index = slots[static_cast<std::size_t>(i)];
        if (!undisturbed)
            books_.slots[index].uncertain.store(1, std::memory_order_relaxed);
        if (i >= accepted)
            book_refused(shared_, index);
        else
            book_flying(shared_, index);
    }
    book_accepted(shared_, static_cast<std::uint64_t>(accepted));
    if (!early)
        announce();
    const bool live = context.state.load(std::memory_order_seq_cst) == ContextState::live;
    const bool refusable = !live || rules_of(kind).many_queues;
    if (auto finding = judge_submit(answer, refusable, " of a poll")) {
        finding->evidence.push_back(kind_name(kind));
        shared_.report(*finding);
    }
}

void PollRace::submit_loop(std::uint32_t index, Random& random) {
    const std::uint32_t own = (stations_ - index + submitters_ - 1) / submitters_;
    std::uint32_t cursor = random.below(own);
    std::uint32_t fruitless = 0;
    std::vector<std::uint32_t> batch;
    batch.reserve(per_file_);
    while (!stopped()) {
        const std::uint32_t seen = answered_.load(std::memory_order_acquire);
        const std::uint32_t station = index + submitters_ * cursor;
        cursor = (cursor + 1) % own;
        batch.clear();
        const std::uint32_t wanted = random.logarithmic(1, per_file_);
        // A process for each submit, or mostly a refusal: not at every turn.
        const KindRules& rules = rules_of(
            static_cast<FileKind>(books_.stations[station].kind.load(std::memory_order_relaxed)));
        const bool rare = (rules.sighand_dies || rules.many_queues) && kinds_.size() > 1;
        for (std::uint32_t i = 0; i < per_file_ && batch.size() < wanted; ++i) {
            const std::uint32_t slot = station * per_file_ + i;
            if (recycle(slot) && !(rare && random.below(128)))
                batch.push_back(slot);
        }
        if (!batch.empty()) {
            submit(station, batch, random);
            fruitless = 0;
        } else if (++fruitless >= own) {
            fruitless = 0;
            answer_waiters_.fetch_add(1, std::memory_order_relaxed);
            wait_for_change(answered_, seen, ms);
            answer_waiters_.fetch_sub(1, std::memory_order_relaxed);
        }
    }
}

// --- reapers -------------------------------------------------------------------------------------

void PollRace::on_event(const io_event& event, bool destroyed) {
    const auto claimed = claim_event(shared_, iocbs_, event);
    if (!claimed)
        return;
    Slot& slot = shared_.slots[*claimed];
    const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed));
    slot.destroyed = destroyed;
    shared_.count(Counter::completed);
    shared_.contexts[slot.context.load(std::memory_order_relaxed)].in_flight.fetch_sub(
        1, std::memory_order_acq_rel);
    slot.word.store(slot_word(generation, SlotState::answered), std::memory_order_release);
    if (plant_ == "event-twice" && generation % 64 == 63)
        on_event(event, destroyed);
}

int PollRace::reap(std::uint32_t index, long min_nr, std::uint64_t timeout_ns) {
    ContextSlot& context = shared_.contexts[index];
    const Inside inside(context);
    if (!inside)
        return 0;
    io_event events[64];
    const long got =
        reap_events(shared_, context, inside, min_nr, timeout_ns, events,
                    [this](const io_event& event, bool destroyed) { on_event(event, destroyed); });
    if (got > 0) {
        answered_.fetch_add(1, std::memory_order_release);
        if (answer_waiters_.load(std::memory_order_relaxed))
            wake(answered_, INT_MAX);
    }
    return static_cast<int>(got);
}

void PollRace::reap_loop(std::uint32_t index, Random& random) {
    std::uint32_t at = index % contexts_;
    std::uint32_t fruitless = 0;
    while (!quiet_.load(std::memory_order_acquire) && !abandoned()) {
        at = (at + 1) % contexts_;
        const bool wait = contexts_ == 1 || ++fruitless > contexts_;
        if (reap(at, wait ? 1 + random.below(4) : 0, wait ? ms : 0) > 0)
            fruitless = 0;
    }
}

// --- cancellers ----------------------------------------------------------------------------------

std::uint32_t PollRace::choose(Random& random) {
    auto fits = [&](std::uint32_t index) {
        const Slot& slot = shared_.slots[index];
        const SlotState state = state_of(slot.word.load(std::memory_order_relaxed));
        // In io_submit() now: a race too, but mostly lost to the list that it is not yet on.
        if (!in_flight(state) || (state == SlotState::prepared && random.below(32)))
            return false;
        // A cancel just after the wake-up is a race, but it may hide that the wake-up was lost: in
        // every second epoch there is none.
        const std::uint32_t station = index / per_file_;
        const std::uint64_t now = books_.stations[station].word.load(std::memory_order_acquire);
        if (now & station_held && hears(index) &&
            (now / station_epoch % 4 < 2 ||
             coarse_ns() - places_[station].held_ns.load(std::memory_order_relaxed) > race_ns))
            return false;
        // Once in a while a request is cancelled again.
        return slot.einprogress.load(std::memory_order_relaxed) +
                       slot.einval.load(std::memory_order_relaxed) ==
                   0 ||
               random.below(128) == 0;
    };
    std::uint32_t first = 0;
    switch (random.below(4)) {
    case 0:
        if (fits(last_submitted_.load(std::memory_order_relaxed)))
            return last_submitted_.load(std::memory_order_relaxed);
        [[fallthrough]];
    case 1: // a file that is being woken or closed
        first = last_touched_.load(std::memory_order_relaxed) * per_file_;
        break;
    default:
        first = random.below(slots_);
    }
    for (std::uint32_t i = 0; i < slots_; ++i) {
        const std::uint32_t slot = (first + i) % slots_;
        if (fits(slot))
            return slot;
    }
    return max_slots;
}

void PollRace::cancel(std::uint32_t index, Random& random) {
    Slot& slot = shared_.slots[index];
    const Holding holding(slot);
    const std::uint64_t word = slot.word.load(std::memory_order_seq_cst);
    if (!in_flight(state_of(word)))
        return;
    ContextSlot& context = shared_.contexts[slot.context.load(std::memory_order_relaxed)];
    const Inside inside(context);
    if (!inside)
        return;
    if (context.incarnation.load(std::memory_order_relaxed) !=
        slot.incarnation.load(std::memory_order_relaxed))
        return;
    for (std::uint32_t spin = random.below(number(knobs_, "spin_max") + 1); spin; --spin)
        __asm__ __volatile__("" ::: "memory");
    const bool flying = state_of(slot.word.load(std::memory_order_acquire)) == SlotState::flying;
    io_event result;
    std::memset(&result, 0xa5, sizeof result);
    const io_event untouched = result;
    int answer = -EINPROGRESS;
    if (!(plant_ == "cancel-forgotten" && random.below(256) == 0)) {
        const Calling calling(Call::io_cancel);
        const long got = syscall(SYS_io_cancel, inside.id(), &iocbs_[index], &result);
        answer = got < 0 ? -errno : static_cast<int>(got);
    }
    shared_.count(Counter::cancel_calls);
    if (auto finding =
            judge_cancel_answer(answer, std::memcmp(&result, &untouched, sizeof result) != 0)) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.report(*finding);
    }
    // relaxed: the judge reads them after holders fell to 0, which orders them.
    if (answer == -EINPROGRESS) {
        slot.einprogress.fetch_add(1, std::memory_order_relaxed);
        shared_.count(Counter::cancel_einprogress);
    } else if (answer == -EINVAL) {
        shared_.count(Counter::cancel_einval);
        if (flying && context.state.load(std::memory_order_relaxed) == ContextState::live)
            slot.einval.fetch_add(1, std::memory_order_relaxed);
    }
    if (flying &&
        (answer != -EINVAL || context.state.load(std::memory_order_relaxed) == ContextState::live))
        slot.lost_cancels.fetch_add(1, std::memory_order_relaxed);
}

void PollRace::cancel_loop(std::uint32_t, Random& random) {
    while (!stopped()) {
        const std::uint32_t seen = submissions_.load(std::memory_order_acquire);
        bool missed = false;
        for (std::uint32_t i = 1 + random.below(4); i > 0 && !missed; --i) {
            const std::uint32_t target = choose(random);
            missed = target >= max_slots;
            if (!missed)
                cancel(target, random);
        }
        if (missed || random.below(4) == 0) {
            submission_waiters_.fetch_add(1, std::memory_order_relaxed);
            wait_for_change(submissions_, seen, ms / 2);
            submission_waiters_.fetch_sub(1, std::memory_order_relaxed);
        }
    }
}

// --- contexts ------------------------------------------------------------------------------------

bool PollRace::make_context(std::uint32_t index) {
    std::string why;
    if (open_context(shared_, index, slots_ + 8, rings_, why))
        return true;
    harness_error(why);
    return false;
}

void PollRace::sweep(std::uint32_t index) {
    sweep_context(shared_, index, slots_);
    answered_.fetch_add(1, std::memory_order_release);
    wake(answered_, INT_MAX);
}

// False when the context was left alone.
bool PollRace::destroy(std::uint32_t index, Random& random) {
    const Destruction what = destroy_context(shared_, index, random, false);
    if (what == Destruction::ended) {
        sweep(index);
        make_context(index);
    }
    return what != Destruction::none;
}

void PollRace::destroy_loop(std::uint32_t, Random& random) {
    while (!stopped()) {
        const std::uint32_t seen = submissions_.load(std::memory_order_acquire);
        const std::uint32_t index = random.below(contexts_);
        const ContextSlot& context = shared_.contexts[index];
        const ContextState state = context.state.load(std::memory_order_relaxed);
        const bool chosen =
            state == ContextState::dying ||
            (state == ContextState::live && context.in_flight.load(std::memory_order_relaxed) >=
                                                static_cast<std::int32_t>(1 + random.below(4)));
        if (chosen && destroy(index, random))
            continue;
        submission_waiters_.fetch_add(1, std::memory_order_relaxed);
        wait_for_change(submissions_, seen, ms / 2);
        submission_waiters_.fetch_sub(1, std::memory_order_relaxed);
    }
}

} // namespace at
