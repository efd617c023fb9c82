#include "lib/oracles/ring.h"

#include <cstring>

namespace at {

namespace {

struct Rule {
    const char* signature;
    const char* title;
    bool (*broken)(const Books& ring); // null: it counts what there is none of, by its last word
};

std::int64_t count(const Books& ring, const char* name) {
    return value_of(ring, name);
}

constexpr Rule rules[] = {
    {"ledger/ring/busy", "slots of the ring are in use, and not by its requests",
     [](const Books& ring) { return count(ring, "busy") != count(ring, "in_ring"); }},
    {"ledger/ring/outside", "a request in the ring has descriptors that are given to others",
     [](const Books& ring) {
         return count(ring, "outside") || count(ring, "in_ring") > count(ring, "span");
     }},
    {"ledger/ring/garbled", "a request in the ring has descriptors that are not its own", nullptr},
    {"ledger/ring/unclean", "descriptors that were given back are not used again", nullptr},
    {"ledger/ring/unrung", "descriptors are in the ring, and the engine was not told", nullptr},
    {"ledger/ring/oversold", "more descriptors are given away and set aside than the ring has",
     [](const Books& ring) {
         return count(ring, "span") + count(ring, "reserved") > count(ring, "size");
     }},
    {"ledger/ring/reserved", "descriptors are set aside, and nobody has them",
     [](const Books& ring) { return count(ring, "reserved") != count(ring, "promised"); }},
    {"ledger/ring/hoarded", "descriptors are set aside for a request that needs none", nullptr},
    {"ledger/ring/misplaced", "a request is in a list of the driver's that it does not say",
     nullptr},
    {"ledger/ring/bare", "a request in the driver's lists has given its memory back", nullptr},
    {"ledger/ring/unbooked", "the driver's lists have memory that its books do not", nullptr},
    {"ledger/ring/unowned", "a request in the driver's lists has too few references, or too many",
     nullptr},
    {"ledger/ring/untimed", "a request in the driver's lists has no time-out", nullptr},
    {"ledger/ring/stranded", "a request waits for a work, and nobody has queued that", nullptr},
    {"ledger/ring/unheard", "a transfer is done, and no interrupt tells of it", nullptr},
    {"ledger/ring/live", "the driver's live requests are counted wrong",
     [](const Books& ring) { return count(ring, "live") != count(ring, "listed"); }},
    {"ledger/ring/miscounted", "the live requests of a file are counted wrong", nullptr},
    {"ledger/ring/orphaned", "a request outlives the last close of its file", nullptr},
    {"ledger/ring/unordered", "the driver's requests do not stand in their order", nullptr},
    {"ledger/ring/overslept",
     "somebody waits for requests to end, and was not woken when the last one did, or one",
     nullptr},
    {"ledger/ring/unwoken", "somebody sleeps in poll(2), and was not woken when there was room",
     nullptr},
    {"ledger/ring/gated", "removal is kept out of the driver, and nobody submits", nullptr},
    {"ledger/ring/forgotten", "the device told that it is gone, and its driver goes on", nullptr},
    {"ledger/ring/unasked", "a cancelled request is in the ring, and the engine was not told",
     nullptr},
    {"ledger/ring/queued", "requests are counted as queued that are not there, or others are not",
     [](const Books& ring) {
         const auto wrong = [&](const char* queued, const char* begun, const char* live) {
             return count(ring, queued) < count(ring, begun) ||
                    count(ring, queued) > count(ring, live);
         };
         return wrong("queued_reads", "begun_reads", "live_reads") ||
                wrong("queued_writes", "begun_writes", "live_writes");
     }},
};

bool is_broken(const Rule& rule, const Books& ring) {
    return rule.broken ? rule.broken(ring) : count(ring, std::strrchr(rule.signature, '/') + 1);
}

} // namespace

std::optional<Finding> judge_ring(const RingState& ring) {
    for (const Rule& rule : rules)
        if (is_broken(rule, ring.counts))
            return Finding{"ledger", rule.title, rule.signature, {ring.text}};
    return std::nullopt;
}

} // namespace at
