#include "lib/supervisor.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>
#include <set>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "lib/bounded.h"
#include "lib/driver_state.h"
#include "lib/heartbeat.h"
#include "lib/memory_scan.h"
#include "lib/modules.h"
#include "lib/oracles/contract.h"
#include "lib/oracles/hang.h"
#include "lib/oracles/leak.h"
#include "lib/oracles/lost.h"
#include "lib/oracles/lost_update.h"
#include "lib/oracles/module_left.h"
#include "lib/oracles/module_memory.h"
#include "lib/oracles/ring.h"
#include "lib/oracles/timing.h"
#include "lib/random.h"
#include "lib/scenario.h"
#include "lib/site_turns.h"
#include "lib/stressor.h"
#include "lib/system.h"
#include "lib/window_report.h"
#include "lib/work_beats.h"

namespace at {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::uint64_t ms = 1000000;
constexpr milliseconds tick{10};
constexpr milliseconds death_tick{2}; // what outlives a process does so for a short time
constexpr std::uint64_t progress_ns = 100 * ms;
constexpr std::uint64_t requests_ns = 20 * ms; // what a guest that dies has not told is little
constexpr std::uint64_t scan_ns = 50 * ms;
// Between SIGKILL and the diagnosis: an ordinary process of this size is gone in a few ms, one
// whose requests all end in time-outs in three times the driver's time-out.
constexpr std::uint64_t kill_healthy_ns = 1500 * ms;
// A CPU that does not schedule for so long, while another does, is locked up.  Longer than any
// pause that a loaded host was seen to make.
constexpr std::uint64_t lockup_ns = 8000 * ms;
constexpr milliseconds quiesce_bound{4000};
// The driver's own books wait for nothing but its work queue: no grace period, no deferred fput.
constexpr milliseconds driver_quiesce_bound{1500};
// The most that a guest gets of bounds in healthy time, in bounds by the clock.
constexpr std::uint64_t starved_for = 6;
constexpr milliseconds memory_bound{1000};
// Told to the host, which sees whether the CPU runs and where.
constexpr std::uint64_t silence_told_ns = 1200 * ms;
// From a process's end to the first look at who sleeps on, and from one look to the next: whoever
// is woken by a kill runs within it.
constexpr std::uint64_t killed_look_ns = 20 * ms;
constexpr std::uint64_t killed_again_ns = 100 * ms;
constexpr std::uint64_t ring_silence_ns = 50 * ms;
constexpr milliseconds shell_bound{20000};
// A turn of the sites waits for every CPU.
constexpr std::uint64_t site_silence_ns = 300 * ms;

std::string parameters_of(const ModuleFile& module, const std::string& plan_parameters) {
    return module.parameters + (module.name == "zcdma" ? plan_parameters : "");
}

void load(const ModuleFile& module, const std::string& plan_parameters) {
    const std::string parameters = parameters_of(module, plan_parameters);
    if (module.keep)
        keep_module(module.name, module.path, parameters);
    else
        load_module(module.name, module.path, parameters);
}

void shell(const char* what, const std::string& command) {
    const auto answer = bounded_exec({"/bin/sh", "-c", command}, {}, shell_bound, 4096);
    if (!answer.timed_out && !answer.status)
        return;
    throw std::runtime_error(
        std::string(what) + " command '" + command + "' " +
        (answer.timed_out ? "did not end" : "ended with status " + std::to_string(answer.status)) +
        ": " + answer.err.substr(0, answer.err.find('\n')));
}

// Last: before the first run, or at the end of the one before.
SlabCounts slabs_counted;

class Supervision {
public:
    Supervision(const RunRequest& request, const RunHooks& hooks)
        : request_(request), hooks_(hooks),
          began_ns_(monotonic_ns()), setup_{request.plan, bind(request.plan), request.device},
          stressor_(make_stressor(setup_)), site_turns_(request.sites, stressor_->sites()),
          shared_memory_("aiotorture-ledger", sizeof(SharedRun)),
          buffers_("aiotorture-buffers", stressor_->buffers_bytes()),
          run_(*new (shared_memory_.start()) SharedRun) {
        run_.findings.mute(request.mute);
        run_.cpus = std::min<std::uint32_t>(static_cast<std::uint32_t>(online_cpus()), max_cpus);
        stressor_->prepare(run_);
        life_seed_ = request.plan.seed;
        if (setup_.bound.scenario->race) {
            lives_ = setup_.bound.knobs.integer("lives");
            run_.lives_until_ns =
                began_ns_ + static_cast<std::uint64_t>(setup_.bound.knobs.nanoseconds("time"));
        }
    }

    ~Supervision() {
        if (child_ > 0 && !child_gone_ && !stuck_)
            ::kill(-child_, SIGKILL);
    }
    Supervision(const Supervision&) = delete;
    Supervision& operator=(const Supervision&) = delete;

    json conduct() {
        prctl(PR_SET_CHILD_SUBREAPER, 1); // of processes that share the stressor's mm
        stage("modules");
        std::optional<HastyGracePeriods> hasty;
        if (!request_.shared) {
            hasty.emplace();
            system_before_ = read_system_books();
            pins_before_ = read_pins();
            // Counted before the first run or after the last: it takes a tenth of a second.
            slabs_before_ = slabs_counted.empty() ? count_kmalloc_objects() : slabs_counted;
            before_modules_ = read_kernel_places(nullptr);
        }
        for (const ModuleFile& module : request_.modules)
            load(module, setup_.bound.knobs.module_parameters());
        for (const std::string& command : request_.set_up)
            shell("set-up", command);
        if (stressor_->uses_device() && !wait_for_node(request_.device))
            throw std::runtime_error(request_.device + " does not exist");
        place_windows();
        if (marks_)
            unplaced_ =
                arm_faults(request_.plan, run_.windows.stretches != 0, stressor_->stretches());
        if (sites_placed_ && lives_ > 1)
            site_turns_.place();
        stage("armed");
        // A regular file keeps its offsets; there is no driver to show the cookie to.
        struct stat status {};
        setup_.cookie_in_offset =
            (stat(request_.device.c_str(), &status) != 0 || S_ISCHR(status.st_mode)) &&
            stressor_->wants_cookie();
        if (S_ISCHR(status.st_mode) && !request_.shared && !request_.modules.empty() &&
            !request_.modules.back().keep)
            setup_.module = request_.modules.back().name;
        hasty.reset();
        for (std::int64_t life = 1;; ++life) {
            live();
            if (life == lives_ || !go_on())
                break;
            next_life();
        }
        if (!request_.shared)
            hasty.emplace();
        if (sites_placed_) {
            site_turns_.remove();
            for (const Finding& finding : judge_lost_updates(site_turns_.counts()))
                run_.report(finding);
        }
        if (marks_)
            disarm_faults();
        if (!preempted_before_.empty())
            choose_preemption(preempted_before_);
        std::uint64_t fired = 0;
        const json faults = fault_counters(request_.plan, fired);
        stage("checking");
        judge_fired(faults);
        if (!stuck_)
            check();
        MemoryScan scan(MemoryScan::kernel_file, [this](milliseconds time) { pause(time); });
        const bool scans = !stuck_ && !request_.shared && scan.offered();
        if (scans)
            tell_kernel_text(scan.after_quiet());
        stage("unload");
        if (!stuck_) {
            for (const std::string& command : request_.tear_down)
                shell("tear-down", command);
            unload();
            judge_left([this] { return left_in_memory(); });
        }
        if (scans)
            tell_kernel_text(scan.once_more());
        collect();
        if (findings_.empty() && !error_.empty())
            throw std::runtime_error(error_);
        return result(faults, fired);
    }

private:
    std::uint64_t elapsed_us() const { return (monotonic_ns() - began_ns_) / 1000; }

    void stage(const char* name) { stage_at(name, elapsed_us()); }
    void stage_at(const char* name, std::uint64_t t_us) {
        hooks_.emit({{"ev", "stage"}, {"stage", name}, {"t_us", t_us}});
    }

    // What a kernel says in a file instead of its log: the host judges it as that.
    void tell_kernel_text(const std::string& text) {
        if (!text.empty())
            hooks_.emit({{"ev", "kernel-text"}, {"text", text}});
    }

    void pause(milliseconds time) {
        const std::uint64_t until = monotonic_ns() + static_cast<std::uint64_t>(time.count()) * ms;
        while (monotonic_ns() < until) {
            hooks_.attend(milliseconds(100));
            tell_progress();
        }
    }

    // Marks are switched on for what needs them, and only then.
    void place_windows() {
        const bool injector =
            std::any_of(request_.modules.begin(), request_.modules.end(),
                        [](const ModuleFile& m) { return m.name == "fail_injector"; });
        if (!request_.plan.windows.empty() && !(injector && request_.marked))
            throw PlanError("this target carries no marks: no window of it can be entered");
        if (injector && request_.marked)
            stressor_->choose_windows(run_);
        if (!request_.plan.windows.empty() && !run_.windows.stretches)
            throw PlanError("this scenario places no racers in windows");
        if (setup_.bound.scenario->race && !request_.shared &&
            setup_.bound.knobs.text("preempt") == "full")
            preempted_before_ = choose_preemption("full");
        preempted_anywhere_ = !preempted_before_.empty() ||
                              read_file("/sys/kernel/realtime").value_or("").starts_with('1');
        // A probe on the only CPU waits for nobody; but others may run in its place.
        sites_placed_ = injector && (run_.cpus > 1 || preempted_anywhere_) &&
                        !request_.sites.empty() && stressor_->sites().share > 0;
        marks_ = !request_.plan.faults.empty() || run_.windows.stretches || sites_placed_;
    }

    void add(const Finding& finding) {
        if (!told_.insert(finding.oracle + "\n" + finding.title).second)
            return;
        findings_.push_back(finding);
        if (!first_finding_us_) {
            const std::uint64_t at = run_.first_finding_ns.load(std::memory_order_relaxed);
            first_finding_us_ = at > began_ns_ ? (at - began_ns_) / 1000 : elapsed_us();
            const std::uint64_t submitted =
                run_.first_finding_submitted.load(std::memory_order_relaxed);
            first_finding_requests_ = at ? submitted : run_.value(Counter::submitted);
        }
        hooks_.emit({{"ev", "finding"}, {"finding", to_json(finding)}});
    }

    void collect() {
        for (const Finding& finding : run_.findings.collect(next_finding_))
            add(finding);
        if (request_.end_at_finding && !findings_.empty())
            run_.stop.store(1, std::memory_order_release);
    }

    void live() {
        Fd held;
        if (lives_ > 1)
            held = Fd(open(request_.device.c_str(), O_RDWR | O_CLOEXEC));
        setup_.inherited_fd = held.get();
        fork_stressor(); // before there are threads
        Heartbeats heartbeats(run_);
        heartbeats_ = &heartbeats;
        // Beside what the stressor prepares, which takes it as long.  A life's racers begin sooner.
        if (sites_placed_ && !site_turns_.stand())
            site_turns_.place();
        if (stressor_->needs_kworkers())
            work_beats_ = std::make_unique<WorkBeats>(run_);
        {
            const SiteTurns::Taking turns(site_turns_, [&heartbeats] {
                std::uint32_t cpu = 0;
                return heartbeats.longest_silence_ns(cpu) < site_silence_ns;
            });
            watch();
        }
        work_beats_.reset();
        heartbeats_ = nullptr;
        if (run_.stage.load(std::memory_order_relaxed) == Stage::kill_me && child_gone_) {
            run_.count(Counter::lives);
            if (drives_zcdma())
                for (const Finding& finding : judge_survivors(read_requests()))
                    run_.report(finding);
        }
    }

    bool go_on() const {
        return !stuck_ && error_.empty() && findings_.empty() &&
               monotonic_ns() < run_.lives_until_ns;
    }

    // After a death: nothing of that life is left, and the ledger is as new but for generations,
    // which go on, so that a late event or cookie of an earlier life is still told apart.
    void next_life() {
        check(BetweenLives::yes);
        for (std::uint32_t i = 0; i < run_.slots_used; ++i) {
            Slot& slot = run_.slots[i];
            const std::uint64_t generation =
                generation_of(slot.word.load(std::memory_order_relaxed));
            slot.word.store(slot_word(generation, SlotState::idle), std::memory_order_relaxed);
            slot.holders.store(0, std::memory_order_relaxed);
        }
        for (ContextSlot& context : run_.contexts) {
            context.state.store(ContextState::empty, std::memory_order_relaxed);
            context.users.store(0, std::memory_order_relaxed);
        }
        for (ThreadBoard& board : run_.threads) {
            board.role.store(Role::none, std::memory_order_relaxed);
            board.call.store(0, std::memory_order_relaxed);
        }
        if (setup_.bound.knobs.integer("reload"))
            reload();
        run_.device_epoch.store(0, std::memory_order_relaxed);
        run_.stop.store(0, std::memory_order_relaxed);
        run_.abandon.store(0, std::memory_order_relaxed);
        run_.stage.store(Stage::starting, std::memory_order_release);
        setup_.plan.seed = splitmix64(life_seed_);
        child_ = -1;
        child_gone_ = false;
        killed_by_plan_ = false;
        next_killed_look_ns_ = 0;
        killed_.clear();
    }

    void fork_stressor() {
        const pid_t parent = getpid();
        leader_gone_ = false;
        child_ = fork();
        if (child_ < 0)
            throw_errno("fork");
        if (child_ == 0) {
            setpgid(0, 0);
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            prctl(PR_SET_NAME, "at-stressor");
            if (getppid() != parent)
                _exit(1);
            std::signal(SIGINT, SIG_DFL);
            std::signal(SIGTERM, SIG_DFL);
            int status = 1;
            try {
                status = stressor_->run(run_, buffers_.start()) ? 0 : 1;
            } catch (const std::exception& error) {
                std::snprintf(run_.harness_error, sizeof run_.harness_error, "%s", error.what());
                run_.harness_errors.store(1, std::memory_order_release);
            }
            _exit(status);
        }
    }

    json counters() const {
        json counters = json::object();
        for (std::uint32_t i = 0; i < counters_count; ++i)
            counters[counter_name(static_cast<Counter>(i))] = run_.value(static_cast<Counter>(i));
        return counters;
    }

    void tell_progress() {
        collect();
        if (const std::uint64_t at = run_.first_iocb_ns.load(std::memory_order_relaxed);
            at && !first_iocb_us_) {
            first_iocb_us_ = (at - began_ns_) / 1000;
            stage_at("first_iocb", first_iocb_us_);
        }
        const Stage now = run_.stage.load(std::memory_order_acquire);
        if (now >= Stage::running && told_stage_ < Stage::running) {
            told_stage_ = Stage::running;
            stage("running");
        }
        if (!drawn_told_ && run_.drawn_told.load(std::memory_order_acquire)) {
            drawn_told_ = true;
            hooks_.emit({{"ev", "drawn"}, {"what", run_.drawn}});
        }
        if (now >= Stage::draining && told_stage_ < Stage::draining) {
            told_stage_ = Stage::draining;
            stage("draining");
        }
        if (const std::uint64_t time = monotonic_ns(); time >= next_requests_ns_) {
            next_requests_ns_ = time + requests_ns;
            json told = {{"submitted", run_.value(Counter::submitted)}};
            if (time >= next_progress_ns_) {
                next_progress_ns_ = time + progress_ns;
                told = counters();
            }
            hooks_.emit({{"ev", "progress"}, {"counters", told}});
        }
    }

    // True when the child is gone.
    bool reaped() {
        if (child_gone_)
            return true;
        const pid_t got = leader_gone_ ? child_ : waitpid(child_, &wait_status_, WNOHANG);
        leader_gone_ = leader_gone_ || got == child_ || (got < 0 && errno == ECHILD);
        if (!leader_gone_)
            return false;
        // Whoever shared its mm is in its group, and this process is their reaper.
        while (waitpid(-child_, nullptr, WNOHANG) > 0) {
        }
        child_gone_ = ::kill(-child_, 0) != 0 && errno == ESRCH;
        return child_gone_;
    }

    void watch() {
        StuckCalls stuck(run_, std::max<std::uint64_t>(stressor_->overdue_ns(), 2000 * ms));
        Random random(request_.plan.seed, 99, 0);
        const std::uint64_t deadline_ns =
            began_ns_ + static_cast<std::uint64_t>(request_.deadline.count()) * ms;
        std::uint64_t next_scan_ns = 0;
        std::uint64_t kill_at_ns = 0;
        while (!reaped()) {
            const bool dying = run_.stage.load(std::memory_order_relaxed) == Stage::kill_me;
            const bool told_to_end = hooks_.attend(dying ? death_tick : tick);
            tell_progress();
            const std::uint64_t now = monotonic_ns();
            if (told_to_end || now > deadline_ns) {
                error_ =
                    told_to_end ? "ended on request" : "the run did not end within its deadline";
                end_stressor();
                return;
            }
            if (run_.stage.load(std::memory_order_acquire) == Stage::kill_me) {
                look_at_the_killed();
                // Of many lives each ends by its own hand; one that does not is killed late.
                if (!kill_at_ns)
                    kill_at_ns =
                        now + (lives_ > 1 ? stressor_->overdue_ns() : random.below(20) * ms);
                if (now >= kill_at_ns) {
                    killed_by_plan_ = true;
                    end_stressor();
                    return;
                }
            }
            if (now < next_scan_ns)
                continue;
            next_scan_ns = now + scan_ns;
            const std::uint64_t healthy = heartbeats_->healthy_ns();
            bool over = false;
            for (const Finding& finding : stressor_->overdue(run_, buffers_.start(), healthy)) {
                run_.report(finding);
                over = true;
            }
            std::uint32_t cpu = 0;
            if (work_beats_)
                if (const auto finding = judge_kworkers(work_beats_->longest_silence_ns())) {
                    run_.report(*finding);
                    over = true;
                }
            const std::uint64_t silence_ns = heartbeats_->longest_silence_ns(cpu);
            const bool locked_up = run_.cpus > 1 && silence_ns > lockup_ns;
            if (silence_ns > silence_told_ns && !silence_told_) {
                silence_told_ = true;
                hooks_.emit({{"ev", "silent-cpu"}, {"cpu", cpu}, {"ms", silence_ns / ms}});
            }
            if (silence_ns < silence_told_ns / 4)
                silence_told_ = false;
            const bool in_call = stuck.scan(healthy);
            if (over || in_call || locked_up) {
                stuck_call_ = stuck.name();
                tell_progress();
                end_stressor();
                if (in_call && stuck.awaits_device() && !over && !locked_up && !stuck_) {
                    run_.report(judge_killed_call(stuck_call_));
                    collect();
                }
                return;
            }
        }
        tell_progress();
        for (const Finding& finding : stressor_->at_end(run_))
            run_.report(finding);
        judge_death();
    }

    // The racer that does it has ended (Race::watch_sleepers()).  Whoever holds the driver's lock
    // for good keeps a CPU.
    void look_at_ring() {
        std::uint32_t cpu = 0;
        if (!drives_zcdma() || heartbeats_->longest_silence_ns(cpu) > ring_silence_ns)
            return;
        if (const auto ring = ring_now())
            if (const auto finding = judge_ring(*ring))
                run_.report(*finding);
    }

    // Of a process that ends by its own hand; its driver's requests say whom it waits for.
    void look_at_the_killed() {
        look_at_ring();
        const std::uint64_t healthy = heartbeats_->healthy_ns();
        if (!next_killed_look_ns_)
            next_killed_look_ns_ = healthy + killed_look_ns;
        if (healthy < next_killed_look_ns_ || !drives_zcdma())
            return;
        next_killed_look_ns_ = healthy + killed_again_ns;
        const auto sleepers = killed_sleepers(child_);
        if (!sleepers.empty() && !killed_.empty())
            if (const auto finding = judge_killed_sleepers(killed_, sleepers, read_requests()))
                run_.report(*finding);
        killed_ = sleepers;
    }

    // SIGKILL; a stressor that survives it is a hang and is diagnosed.
    void end_stressor() {
        run_.stop.store(1, std::memory_order_release);
        run_.abandon.store(1, std::memory_order_release);
        const StuckCalls board(run_, 0);
        ::kill(-child_, SIGKILL);
        ::kill(child_, SIGKILL);
        const std::uint64_t from = heartbeats_->healthy_ns();
        const std::uint64_t from_wall = monotonic_ns();
        const std::uint64_t bound = std::max(kill_healthy_ns, stressor_->overdue_ns());
        while (!reaped() && heartbeats_->healthy_ns() - from < bound &&
               monotonic_ns() - from_wall < lockup_ns) {
            hooks_.attend(tick);
            if (killed_by_plan_)
                look_at_the_killed();
            collect();
        }
        if (reaped())
            return;
        stuck_ = true;
        bool blocked = false;
        const auto requests = read_requests(&blocked);
        const auto tasks = read_tasks(child_);
        const Finding finding = diagnose_hang(tasks, requests, blocked, stuck_call_);
        hooks_.emit({{"ev", "hang"}, {"title", finding.title}, {"evidence", finding.evidence}});
        run_.report(finding);
        collect();
    }

    void judge_death() {
        if (run_.stage.load(std::memory_order_acquire) == Stage::kill_me) {
            killed_by_plan_ = true;
            return;
        }
        if (run_.harness_errors.load(std::memory_order_acquire))
            error_ = std::string("stressor: ") + run_.harness_error;
        else if (WIFSIGNALED(wait_status_))
            error_ = "the stressor ended by signal " + std::to_string(WTERMSIG(wait_status_)) +
                     stuck_call_suffix();
        else if (WEXITSTATUS(wait_status_))
            error_ = "the stressor ended with status " + std::to_string(WEXITSTATUS(wait_status_));
    }

    std::string stuck_call_suffix() const {
        StuckCalls board(run_, 0);
        const std::string call = board.any_call();
        return call.empty() ? "" : ", a thread being in " + call;
    }

    // Between lives the driver's own books are asked alone: the system's need RCU's time.
    enum class BetweenLives { no, yes };
    void check(BetweenLives between_lives = BetweenLives::no) {
        // Requests that were in flight when the process was killed: their events are unseen.
        if (run_.stage.load(std::memory_order_relaxed) != Stage::done) {
            const LeftAtDeath left = left_at_death(run_);
            run_.count(Counter::killed_inflight, static_cast<std::uint64_t>(left.in_flight));
            unseen_ += left.unseen;
        }
        for (const Finding& finding :
             stressor_->after_death(run_, buffers_.start(), death_watch(between_lives)))
            run_.report(finding);
        collect();
        const std::int64_t ring =
            setup_.bound.knobs.integer("ring") * setup_.bound.knobs.integer("devices");
        LedgerTotals totals = seen_so_far();
        totals.cancelled -= booked_before_.cancelled;
        totals.timeouts -= booked_before_.timeouts;
        totals.whole -= booked_before_.whole;
        totals.shorts -= booked_before_.shorts;
        totals.unseen -= booked_before_.unseen;
        // A device that was unbound took its books along.
        const bool books_whole = run_.value(Counter::removals) == 0;
        // Polled until all is given back, or the bound is over: what is left then is a leak.
        std::vector<Finding> left;
        const Heartbeats beating(run_);
        const std::uint64_t from = monotonic_ns();
        const std::uint64_t healthy_from = run_.healthy_ns();
        // On a host with other work, or with a CPU of the guest's that is dead, by the clock too.
        const auto over = [&](milliseconds bound) {
            const auto bound_ns = static_cast<std::uint64_t>(bound.count()) * ms;
            return run_.healthy_ns() - healthy_from >= bound_ns ||
                   monotonic_ns() - from >= starved_for * bound_ns;
        };
        for (;;) {
            left.clear();
            bool blocked = false;
            if (drives_zcdma()) {
                const auto books = read_books(&blocked);
                if (books) {
                    books_ = *books;
                    left = judge_books(*books, ring, read_requests());
                    for (Finding& finding :
                         books_whole ? judge_totals(*books, totals) : std::vector<Finding>{})
                        left.push_back(std::move(finding));
                } else if (const auto finding = judge_unread_books(blocked)) {
                    left.push_back(*finding);
                }
            }
            if (blocked && !over(driver_quiesce_bound))
                continue;
            if (!request_.shared && between_lives == BetweenLives::no)
                for (Finding& finding : judge_system(system_before_, read_system_books()))
                    left.push_back(std::move(finding));
            if (!left.empty() && over(driver_quiesce_bound))
                break;
            for (Finding& finding : judge_system(system_before_, read_system_books()))
                left.push_back(std::move(finding));
            if (left.empty() || over(quiesce_bound))
                break;
            hooks_.attend(milliseconds(10));
        }
        for (const Finding& finding : left)
            run_.report(finding);
        if (drives_zcdma() && pins_before_ && between_lives == BetweenLives::no)
            if (const auto finding =
                    judge_unpinned(read_pins().value_or(*pins_before_) - *pins_before_,
                                   static_cast<std::int64_t>(run_.value(Counter::whole_results))))
                run_.report(*finding);
        if (drives_zcdma() && books_whole && books_.count("engine_resets"))
            if (const auto finding = judge_resets(books_.at("engine_resets"), stalls(),
                                                  wait_bounds(setup_.plan, setup_.bound.knobs)))
                run_.report(*finding);
        collect();
    }

    std::uint64_t stalls() const {
        std::uint64_t all = 0;
        for (std::uint32_t cpu = 0; cpu < run_.cpus; ++cpu)
            all += run_.heartbeats[cpu].stalls.load(std::memory_order_relaxed);
        return all;
    }

    bool drives_zcdma() const {
        return std::any_of(request_.modules.begin(), request_.modules.end(),
                           [](const ModuleFile& m) { return m.name == "zcdma"; });
    }

    milliseconds death_watch(BetweenLives between_lives) const {
        if (between_lives == BetweenLives::yes)
            return milliseconds(5);
        return milliseconds(killed_by_plan_ ? 100 : 20);
    }

    // What its initialisation had made when it failed is taken back: it can be loaded once more.
    void load_in_vain() {
        constexpr std::uint32_t loads = 4;
        // Before them the kernel makes those for a module's own memory, after them its probe does.
        constexpr std::uint32_t first = 64;
        constexpr std::uint32_t last = 256;
        const ModuleFile& module = request_.modules.back();
        const std::string parameters =
            parameters_of(module, setup_.bound.knobs.module_parameters());
        Random random(request_.plan.seed, static_cast<std::uint64_t>(Role::main), 3);
        const std::uint32_t from = random.below(last - first);
        for (std::uint32_t i = 0; i < loads; ++i) {
            const std::uint32_t nth = first + (from + i * (last - first) / loads) % (last - first);
            if (at::load_without_memory(module.name, module.path, parameters, nth))
                run_.count(Counter::loads_starved);
            judge_left([this] { return left_of_modules(); });
        }
        // The last step of zcdma's finds no card.
        if (drives_zcdma() && setup_.bound.knobs.text("engine") == "soft" &&
            load_is_refused(module.name, module.path, parameters + " engine=edu"))
            judge_left([this] { return left_of_modules(); });
        try {
            load(module, setup_.bound.knobs.module_parameters());
        } catch (const std::runtime_error& error) {
            if (run_.value(Counter::loads_starved))
                run_.report(judge_load_after_failure(module.name, error.what()));
            else
                error_ = error.what();
        }
    }

    // The last module is the target's.  Its books begin anew, and so do the totals held to them.
    void reload() {
        const HastyGracePeriods hasty;
        site_turns_.remove(); // a probe that its module leaves behind is dead, and stays so
        if (!unload_one())
            return;
        load(request_.modules.back(), setup_.bound.knobs.module_parameters());
        if (!wait_for_node(request_.device))
            throw std::runtime_error(request_.device + " does not exist after a reload");
        if (sites_placed_)
            site_turns_.place();
        run_.count(Counter::reloads);
        booked_before_ = seen_so_far();
    }

    void judge_fired(const json& faults) {
        // Without such a fault each short result was judged as it came.
        std::optional<std::uint64_t> shorts;
        for (const json& fault : faults)
            if (fault.at("action") == "short")
                shorts = shorts.value_or(0) + fault.at("fired").get<std::uint64_t>();
        if (!shorts)
            return;
        if (auto finding = judge_shorts(run_.value(Counter::short_results), *shorts))
            run_.report(*finding);
    }

    LedgerTotals seen_so_far() const {
        LedgerTotals totals;
        totals.cancelled = static_cast<std::int64_t>(run_.value(Counter::cancelled));
        totals.timeouts = static_cast<std::int64_t>(run_.value(Counter::timeouts));
        totals.whole = static_cast<std::int64_t>(run_.value(Counter::whole_results));
        totals.shorts = static_cast<std::int64_t>(run_.value(Counter::short_results));
        totals.unseen = unseen_ + static_cast<std::int64_t>(run_.value(Counter::swept) +
                                                            run_.value(Counter::outside));
        return totals;
    }

    void unload() {
        const bool reloads = setup_.bound.scenario->race && setup_.bound.knobs.integer("reload");
        if (reloads && findings_.empty() && modules_loaded()) {
            if (!unload_one())
                return;
            load_in_vain();
        }
        // After each: the injector, which counts some of it, goes last.
        while (modules_loaded() && unload_one())
            judge_left([this] { return left_of_modules(); });
    }

    bool unload_one() {
        const ModuleRange range = range_of_module(last_module_loaded());
        std::string name;
        std::string why;
        const bool unloaded = unload_last_module(name, why);
        if (const auto finding = judge_unload(unloaded, name, why)) {
            run_.report(*finding);
            collect();
            return false;
        }
        if (range.bytes)
            gone_.push_back(range);
        return true;
    }

    // kfree_rcu() and the like end within a grace period.
    template <typename Read> void judge_left(Read read) {
        const std::uint64_t until =
            monotonic_ns() + static_cast<std::uint64_t>(memory_bound.count()) * ms;
        std::vector<Finding> left;
        while (!(left = read()).empty() && monotonic_ns() < until)
            hooks_.attend(milliseconds(100));
        for (const Finding& finding : left)
            run_.report(finding);
    }

    std::vector<Finding> left_of_modules() const {
        return gone_.empty() ? std::vector<Finding>()
                             : judge_module_left(read_kernel_places(&before_modules_),
                                                 before_modules_, gone_);
    }

    std::vector<Finding> left_in_memory() const {
        if (gone_.empty())
            return {};
        slabs_counted = count_kmalloc_objects();
        return read_module_memory(slabs_before_, slabs_counted, gone_, began_ns_);
    }

    json heat() const {
        if (!run_.windows.stretches)
            return nullptr;
        json map = heat_map(run_.windows);
        map["unplaced_calls"] = unplaced_;
        return map;
    }

    json result(const json& faults, std::uint64_t fired) const {
        json counts = counters();
        counts["faults_fired"] = fired;
        counts["preempted_anywhere"] = preempted_anywhere_ ? 1 : 0;
        const json sites = site_turns_.told(counts);
        json findings = json::array();
        for (const Finding& finding : findings_)
            findings.push_back(to_json(finding));
        std::uint32_t stalls = 0;
        for (std::uint32_t cpu = 0; cpu < run_.cpus; ++cpu)
            stalls += run_.heartbeats[cpu].stalls.load(std::memory_order_relaxed);
        counts["stalls"] = stalls;
        return {{"findings", findings},
                {"counters", counts},
                {"faults", faults},
                {"hits", window_hits(run_.windows)},
                {"heat", heat()},
                {"sites", sites},
                {"run_us", elapsed_us()},
                {"first_iocb_us", first_iocb_us_},
                {"tries", run_.value(Counter::submitted)},
                {"books", books_},
                {"drawn", drawn_told_ ? json(run_.drawn) : json(nullptr)},
                {"error", error_.empty() ? json(nullptr) : json(error_)},
                {"requests_to_first_finding",
                 findings_.empty() ? json(nullptr) : json(first_finding_requests_)},
                {"time_to_first_finding_us",
                 findings_.empty() ? json(nullptr) : json(first_finding_us_)}};
    }

    const RunRequest& request_;
    const RunHooks& hooks_;
    const std::uint64_t began_ns_;
    RaceSetup setup_;
    const std::unique_ptr<Stressor> stressor_;
    SiteTurns site_turns_;
    SharedMemory shared_memory_;
    SharedMemory buffers_;
    SharedRun& run_;
    Heartbeats* heartbeats_ = nullptr;
    std::unique_ptr<WorkBeats> work_beats_;
    SystemBooks system_before_;
    std::optional<std::int64_t> pins_before_;
    SlabCounts slabs_before_;
    KernelPlaces before_modules_;
    std::vector<ModuleRange> gone_; // where unloaded modules lay
    Books books_;
    pid_t child_ = -1;
    bool leader_gone_ = false;
    bool child_gone_ = false;    // and its group
    LedgerTotals booked_before_; // seen by earlier incarnations of the module
    std::int64_t unseen_ = 0;    // in flight, or not yet judged, at a death
    std::uint64_t life_seed_ = 0;
    std::int64_t lives_ = 1;
    bool stuck_ = false;
    bool marks_ = false;
    bool sites_placed_ = false;
    std::string preempted_before_; // empty: as it always is
    bool preempted_anywhere_ = false;
    std::vector<std::string> unplaced_;
    bool silence_told_ = false;
    bool killed_by_plan_ = false;
    std::uint64_t next_killed_look_ns_ = 0; // in healthy time; 0: the process lives
    std::vector<KilledSleeper> killed_;     // at the last look
    int wait_status_ = 0;
    std::string stuck_call_;
    std::string error_;
    std::vector<Finding> findings_;
    std::set<std::string> told_;
    std::uint32_t next_finding_ = 0;
    std::uint64_t first_iocb_us_ = 0;
    std::uint64_t first_finding_us_ = 0;
    std::uint64_t first_finding_requests_ = 0;
    std::uint64_t next_progress_ns_ = 0;
    std::uint64_t next_requests_ns_ = 0;
    Stage told_stage_ = Stage::starting;
    bool drawn_told_ = false;
};

} // namespace

void probe(const RunRequest& request) {
    if (modules_loaded())
        throw std::runtime_error("modules are loaded already");
    try {
        for (const ModuleFile& module : request.modules)
            load(module, "");
        for (const std::string& command : request.set_up)
            shell("set-up", command);
        if (!request.device.empty()) {
            if (!wait_for_node(request.device))
                throw std::runtime_error(request.device + " does not exist once all is loaded");
            const Fd node(open(request.device.c_str(), O_RDWR | O_CLOEXEC));
            if (!node)
                throw std::runtime_error("open " + request.device + ": " + std::strerror(errno));
        }
        for (const std::string& command : request.tear_down)
            shell("tear-down", command);
    } catch (...) {
        unload_all_modules();
        throw;
    }
    unload_all_modules();
}

json supervise(const RunRequest& request, const RunHooks& hooks) {
    try {
        return Supervision(request, hooks).conduct();
    } catch (...) {
        unload_all_modules();
        throw;
    }
}

void count_memory() {
    slabs_counted = count_kmalloc_objects();
}

void unload_all_modules() {
    std::string name;
    std::string why;
    while (modules_loaded() && unload_last_module(name, why)) {
    }
}

} // namespace at
