#include "lib/oracles/ring.h"

namespace at {

namespace {

struct Rule {
    const char* signature;
    const char* title;
    bool (*broken)(const RingState&);
};

constexpr Rule rules[] = {
    {"ledger/ring/busy", "slots of the ring are in use, and not by its requests",
     [](const RingState& ring) { return ring.busy != ring.in_ring; }},
    {"ledger/ring/outside", "a request in the ring has descriptors that are given to others",
     [](const RingState& ring) { return ring.outside || ring.in_ring > ring.span; }},
    {"ledger/ring/garbled", "a request in the ring has descriptors that are not its own",
     [](const RingState& ring) { return ring.garbled != 0; }},
    {"ledger/ring/unrung", "descriptors are in the ring, and the engine was not told",
     [](const RingState& ring) { return ring.unrung != 0; }},
    {"ledger/ring/oversold", "more descriptors are given away and set aside than the ring has",
     [](const RingState& ring) { return ring.span + ring.reserved > ring.size; }},
    {"ledger/ring/reserved", "descriptors are set aside, and nobody has them",
     [](const RingState& ring) { return ring.reserved != ring.promised; }},
    {"ledger/ring/hoarded", "descriptors are set aside for a request that needs none",
     [](const RingState& ring) { return ring.hoarded != 0; }},
    {"ledger/ring/unowned", "a request in the driver's lists has no reference of the engine's",
     [](const RingState& ring) { return ring.unowned != 0; }},
    {"ledger/ring/untimed", "a request in the driver's lists has no time-out",
     [](const RingState& ring) { return ring.untimed != 0; }},
    {"ledger/ring/stranded", "a request waits for a work, and nobody has queued that",
     [](const RingState& ring) { return ring.stranded != 0; }},
    {"ledger/ring/live", "the driver's live requests are counted wrong",
     [](const RingState& ring) { return ring.live != ring.listed; }},
    {"ledger/ring/unordered", "the driver's requests do not stand in their order",
     [](const RingState& ring) { return ring.unordered != 0; }},
    {"ledger/ring/queued", "requests are counted as queued that are not there",
     [](const RingState& ring) {
         return ring.queued_reads < 0 || ring.queued_writes < 0 ||
                ring.queued_reads + ring.queued_writes > static_cast<std::int64_t>(ring.listed);
     }},
};

} // namespace

std::optional<Finding> judge_ring(const RingState& ring) {
    for (const Rule& rule : rules)
        if (rule.broken(ring))
            return Finding{"ledger", rule.title, rule.signature, {ring.text}};
    return std::nullopt;
}

} // namespace at
