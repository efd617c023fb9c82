#include <catch2/catch.hpp>

#include <memory>

#include "lib/findings.h"
#include "lib/ledger.h"

namespace {

const at::Finding late{"ledger", "late", "ledger/late/cancel", {"evidence"}};
const at::Finding lost{"ledger", "lost", "ledger/lost/queue/engine", {}};

} // namespace

TEST_CASE("a finding is of its oracle, and of each part of one that its signature names") {
    CHECK(at::is_of("ledger", late));
    CHECK(at::is_of("ledger/late", late));
    CHECK(at::is_of("ledger/late/cancel", late));
    CHECK_FALSE(at::is_of("ledger/la", late));
    CHECK_FALSE(at::is_of("ledger/lost", late));
    CHECK_FALSE(at::is_of("leak", late));
}

TEST_CASE("a muted oracle is not heard, and fixes no time of a first finding") {
    const auto run = std::make_unique<at::SharedRun>();
    run->findings.mute({"leak", "ledger/late"});
    run->report(late);
    CHECK(run->first_finding_ns.load() == 0);
    run->report(lost);
    std::uint32_t next = 0;
    const auto told = run->findings.collect(next);
    REQUIRE(told.size() == 1);
    CHECK(told[0].signature == lost.signature);
    CHECK(run->first_finding_ns.load() != 0);
}

TEST_CASE("findings of one title are told once, with the first one's evidence") {
    const auto run = std::make_unique<at::SharedRun>();
    for (int i = 0; i < 3; ++i)
        run->report(late);
    std::uint32_t next = 0;
    CHECK(run->findings.collect(next).size() == 1);
    CHECK(run->findings.collect(next).empty());
}
