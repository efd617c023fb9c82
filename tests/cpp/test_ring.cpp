#include <catch2/catch.hpp>

#include <string>

#include "lib/oracles/ring.h"

namespace {

// Two requests in a ring of 16, one that waits with two descriptors set aside.
at::RingState sound() {
    return at::parse_ring(
        "halted 0\ngone 0\nstarts 3\nroom_for 0\nsize 16\nbusy 5\nin_ring 5\nspan 7\n"
        "reserved 2\npromised 2\nlive 4\nlisted 4\n"
        "queued_reads 1\nbegun_reads 1\nlive_reads 2\n"
        "queued_writes 2\nbegun_writes 2\nlive_writes 2\n"
        "outside 0\ngarbled 0\nunclean 0\nhoarded 0\nunowned 0\nuntimed 0\nstranded 0\n"
        "unheard 0\nmisplaced 0\nbare 0\nunbooked 0\nunordered 0\nmiscounted 0\n"
        "orphaned 0\noverslept 0\nunwoken 0\nunrung 0\nunasked 0\ngated 0\nforgotten 0\n");
}

std::string named(const at::RingState& ring) {
    const auto finding = at::judge_ring(ring);
    return finding ? finding->signature : "";
}

} // namespace

TEST_CASE("the file ring is read line by line") {
    const at::RingState ring = sound();
    CHECK(ring.starts == 3);
    CHECK(ring.counts.at("span") == 7);
    CHECK(ring.counts.at("queued_writes") == 2);
    CHECK(ring.text.find("span 7 reserved 2") != std::string::npos);
    CHECK(at::parse_ring("halted 1\ngone 1\nroom_for 9\n").room_for == 9);
    CHECK(!at::parse_ring("").gone);
}

TEST_CASE("what the driver's lock guards adds up") {
    CHECK(named(at::RingState{}).empty());
    CHECK(named(sound()).empty());
    const struct {
        const char* signature;
        const char* count;
        std::int64_t broken;
    } all[] = {
        {"ledger/ring/busy", "busy", 6},
        {"ledger/ring/outside", "outside", 1},
        {"ledger/ring/outside", "span", 4},
        {"ledger/ring/garbled", "garbled", 1},
        {"ledger/ring/unclean", "unclean", 1},
        {"ledger/ring/unrung", "unrung", 4294967295},
        {"ledger/ring/oversold", "span", 15},
        {"ledger/ring/reserved", "reserved", 0},
        {"ledger/ring/hoarded", "hoarded", 1},
        {"ledger/ring/misplaced", "misplaced", 1},
        {"ledger/ring/bare", "bare", 1},
        {"ledger/ring/unbooked", "unbooked", 1},
        {"ledger/ring/unowned", "unowned", 1},
        {"ledger/ring/untimed", "untimed", 1},
        {"ledger/ring/stranded", "stranded", 1},
        {"ledger/ring/unheard", "unheard", 1},
        {"ledger/ring/live", "live", 2},
        {"ledger/ring/miscounted", "miscounted", 1},
        {"ledger/ring/orphaned", "orphaned", 1},
        {"ledger/ring/unordered", "unordered", 1},
        {"ledger/ring/overslept", "overslept", 1},
        {"ledger/ring/unwoken", "unwoken", 1},
        {"ledger/ring/unasked", "unasked", 1},
        {"ledger/ring/gated", "gated", 1},
        {"ledger/ring/forgotten", "forgotten", 1},
        {"ledger/ring/queued", "queued_reads", -1},
        {"ledger/ring/queued", "queued_reads", 0},
        {"ledger/ring/queued", "queued_writes", 3},
    };
    for (const auto& one : all) {
        at::RingState ring = sound();
        ring.counts.at(one.count) = one.broken;
        CHECK(named(ring) == one.signature);
    }
}
