#include "lib/oracles/lost.h"

#include <algorithm>

#include "lib/driver_state.h"

namespace at {

bool LostEvents::overdue(std::uint32_t index, std::uint64_t healthy_ns, bool quiet) {
    const Slot& slot = run_.slots[index];
    Watched& watched = watched_[index];
    const std::uint64_t word = slot.word.load(std::memory_order_acquire);
    const bool waits_for_others = slot.op.load(std::memory_order_relaxed) != Op::transfer;
    if (state_of(word) != SlotState::flying || watched.word != word ||
        (waits_for_others && !quiet)) {
        watched = {word, healthy_ns};
        return false;
    }
    if (healthy_ns - watched.since_ns < overdue_ns_ ||
        slot.reported.load(std::memory_order_relaxed))
        return false;
    // A context that is being destroyed answers no more; StuckCalls watches its destroyer.
    const ContextSlot& context =
        run_.contexts[slot.context.load(std::memory_order_relaxed) % max_contexts];
    return context.state.load(std::memory_order_acquire) == ContextState::live &&
           context.incarnation.load(std::memory_order_relaxed) ==
               slot.incarnation.load(std::memory_order_relaxed) &&
           context.empty_ns.load(std::memory_order_acquire) >
               slot.submitted_ns.load(std::memory_order_relaxed) + overdue_ns_ &&
           slot.word.load(std::memory_order_acquire) == word;
}

std::vector<Finding> LostEvents::scan(std::uint64_t healthy_ns) {
    std::vector<std::uint32_t> lost;
    bool quiet = true;
    for (std::uint32_t i = 0; i < run_.slots_used; ++i) {
        const SlotState state = state_of(run_.slots[i].word.load(std::memory_order_acquire));
        quiet &= !((in_flight(state) || state == SlotState::sync) &&
                   run_.slots[i].op.load(std::memory_order_relaxed) == Op::transfer);
    }
    for (std::uint32_t i = 0; i < run_.slots_used; ++i)
        if (overdue(i, healthy_ns, quiet))
            lost.push_back(i);
    if (lost.empty())
        return {};
    bool blocked = false;
    const auto requests = read_requests(&blocked);
    std::vector<Finding> findings;
    for (const std::uint32_t index : lost) {
        Slot& slot = run_.slots[index];
        const std::uint64_t word = slot.word.load(std::memory_order_acquire);
        if (state_of(word) != SlotState::flying || word != watched_[index].word)
            continue; // it came after all, while the list was read
        slot.reported.store(1, std::memory_order_relaxed);
        run_.count(Counter::events_lost);
        const std::uint64_t cookie = cookie_of(index, generation_of(word));
        const auto found = std::find_if(requests.begin(), requests.end(),
                                        [&](const DriverRequest& r) { return r.cookie == cookie; });
        const bool cancelled = slot.einprogress.load(std::memory_order_relaxed) > 0;
        const Op op = slot.op.load(std::memory_order_relaxed);
        if (op != Op::transfer) { // the driver keeps no books of it
            findings.push_back({"ledger",
                                op == Op::poll ? "a poll was not woken, and the driver is idle"
                                               : "an fsync did not end, and the driver is idle",
                                op == Op::poll ? "ledger/lost/poll" : "ledger/lost/fsync",
                                {describe_slot(run_, index)}});
            continue;
        }
        Finding finding;
        finding.oracle = "ledger";
        finding.title =
            std::string("event lost of a ") + (cancelled ? "cancelled request: " : "request: ");
        finding.signature = std::string("ledger/lost/") + (cancelled ? "cancelled/" : "plain/");
        if (found != requests.end()) {
            finding.title += where_it_stands(*found);
            finding.signature += signature_of(*found);
            finding.evidence.push_back("request " + found->line);
        } else if (blocked) {
            finding.title += "the driver's books do not answer";
            finding.signature += "books-blocked";
        } else {
            finding.title += "the driver does not know it any more";
            finding.signature += "forgotten";
        }
        finding.evidence.push_back(describe_slot(run_, index));
        findings.emplace_back(finding.oracle, finding.title, finding.signature, finding.evidence);
    }
    return findings;
}

namespace {

// Reclaim of most of the memory, a fork of a large process and its end take what the CPU needs for
// them: seconds on a kernel with KASAN.
constexpr std::uint64_t work_bounds = 5;

bool is_work(Call call) {
    switch (call) {
    case Call::fork:
    case Call::waitpid:
    case Call::remap:
    case Call::hotplug:
    case Call::reclaim:
    case Call::write_back:
        return true;
    default:
        return false;
    }
}

} // namespace

bool StuckCalls::scan(std::uint64_t healthy_ns) {
    for (std::uint32_t i = 0; i < max_threads; ++i) {
        const std::uint64_t word = run_.threads[i].call.load(std::memory_order_acquire);
        Watched& watched = watched_[i];
        const auto call = static_cast<Call>(word & 0xff);
        if (call == Call::none || word != watched.call) {
            watched = {word, healthy_ns};
            continue;
        }
        if (healthy_ns - watched.since_ns >= bound_ns_ * (is_work(call) ? work_bounds : 1)) {
            name_ = call_name(call);
            awaits_device_ = !is_work(call);
            return true;
        }
    }
    return false;
}

std::string StuckCalls::any_call() const {
    for (std::uint32_t i = 0; i < max_threads; ++i) {
        const auto call =
            static_cast<Call>(run_.threads[i].call.load(std::memory_order_acquire) & 0xff);
        if (call != Call::none && call != Call::io_getevents)
            return call_name(call);
    }
    return "";
}

} // namespace at
