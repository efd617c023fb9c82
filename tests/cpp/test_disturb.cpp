// What is drawn goes together, is the same for the same seed, and leaves nothing out for ever.
#include <catch2/catch.hpp>

#include <set>

#include "lib/disturb/disturb.h"
#include "lib/scenario.h"

namespace {

at::Drawn drawn(std::uint64_t seed, const char* word = "drawn") {
    at::Random random(seed, 0, 0);
    return at::draw_disturbances(word, random);
}

} // namespace

TEST_CASE("what is drawn goes with the buffers that were drawn") {
    for (std::uint64_t seed = 0; seed < 2000; ++seed) {
        const at::Drawn one = drawn(seed);
        CHECK(one.disturbances.size() >= 2);
        CHECK(one.disturbances.size() <= 3);
        const std::set<const at::Disturbance*> different(one.disturbances.begin(),
                                                         one.disturbances.end());
        CHECK(different.size() == one.disturbances.size());
        int needing_own = 0;
        for (const at::Disturbance* each : one.disturbances) {
            REQUIRE(each);
            CHECK((!each->own || one.buffers == at::Buffers::own));
            CHECK(each->weight > 0);
            needing_own += each->own;
        }
        CHECK((needing_own > 0) == (one.buffers == at::Buffers::own));
        CHECK(one.text() == drawn(seed).text());
    }
}

TEST_CASE("over many seeds everything with a weight is drawn, and one race in four is killed") {
    std::set<std::string> seen;
    std::uint32_t killed = 0;
    for (std::uint64_t seed = 0; seed < 2000; ++seed) {
        const at::Drawn one = drawn(seed);
        for (const at::Disturbance* each : one.disturbances)
            seen.insert(each->name);
        killed += one.killed;
    }
    for (const at::Disturbance& one : at::disturbances())
        CHECK(seen.count(one.name) == (one.weight > 0));
    CHECK(killed > 400);
    CHECK(killed < 600);
}

TEST_CASE("a plan may name what disturbs") {
    CHECK(drawn(1, "close+fork").buffers == at::Buffers::shared);
    const at::Drawn one = drawn(1, "remap+fork+close+fork");
    CHECK(one.buffers == at::Buffers::own);
    REQUIRE(one.disturbances.size() == 3);
    // whoever lets children look comes before whoever takes access rights
    CHECK(one.text().substr(0, 16) == "close+fork+remap");
    CHECK_THROWS_AS(drawn(1, "quake"), at::PlanError);
    CHECK_THROWS_AS(drawn(1, ""), at::PlanError);
    at::KnobValues values(&at::find_scenario("melee").knobs);
    values.set("disturb", "fork+storm");
    CHECK_THROWS_AS(values.set("disturb", "fork+quake"), at::PlanError);
    CHECK_THROWS_AS(values.set("disturb", "fork+"), at::PlanError);
}
