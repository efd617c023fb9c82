#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "lib/plan.h"
#include "lib/scenario.h"

using at::parse_plan;
using at::print_plan;

TEST_CASE("a plan prints canonically and parses back without loss") {
    const char* text = "seed 7 ; window canceller in irq..complete hold=2ms\n"
                       "fault irq   drop p=0.01 times=3 # a ; comment\n"
                       "scenario submit_cancel_race time=3s   cancel=flush";
    const at::Plan plan = parse_plan(text);
    CHECK(print_plan(plan) == "scenario submit_cancel_race time=3s cancel=flush\n"
                              "fault irq drop p=0.01 times=3\n"
                              "window canceller in irq..complete hold=2ms\n"
                              "seed 7\n");
    CHECK(parse_plan(print_plan(plan)) == plan);
}

TEST_CASE("a plan that is wrong is refused, with the statement named") {
    for (const char* text : {"", "seed 1", "scenario a;scenario b", "scenario a;fault irq fail",
                             "scenario a;fault nowhere drop", "scenario a;fault irq explode",
                             "scenario a;fault irq drop p=2", "scenario a;fault irq drop p",
                             "scenario a;seed 1;seed 2", "scenario a;fault irq delay delay=5",
                             "scenario a;window ghost in irq..free", "scenario a x=1 x=2",
                             "scenario a;fault irq drop cookie=slot:x", "scenario a;seed -1"})
        CHECK_THROWS_AS(parse_plan(text), at::PlanError);
    CHECK_THROWS_WITH(parse_plan("scenario a;fault irq drop p=2"),
                      Catch::Contains("statement 2 (fault)"));
}

TEST_CASE("knobs check names, ranges and choices") {
    auto bound = [](const std::string& keys) {
        return at::bind(parse_plan("scenario submit_cancel_race " + keys));
    };
    CHECK(bound("max_len=4K").knobs.integer("max_len") == 4096);
    CHECK(bound("time=1.5s").knobs.nanoseconds("time") == 1500000000);
    CHECK(bound("").knobs.integer("timeout_ms") == 200);
    CHECK(bound("cancel=flag ring=64").knobs.module_parameters() == "cancel=flag ring=64");
    for (const char* keys : {"nonsense=1", "submitters=0", "read_ratio=1.5", "cancel=perhaps",
                             "ring=100", "time=10", "depth=x"})
        CHECK_THROWS_AS(bound(keys), at::PlanError);
    CHECK_THROWS_AS(at::bind(parse_plan("scenario nowhere")), at::PlanError);
}

TEST_CASE("describe names every knob with its default inside its range") {
    const auto all = at::describe_all();
    CHECK(all.at("scenarios").size() >= 3);
    for (const auto& scenario : all.at("scenarios")) {
        CHECK(!scenario.at("contention").empty());
        for (const auto& knob : scenario.at("knobs")) {
            at::KnobValues values(&at::find_scenario(scenario.at("name").get<std::string>()).knobs);
            const std::string name = knob.at("name");
            values.set(name, values.text(name)); // throws when out of range
            CHECK(!knob.at("help").get<std::string>().empty());
        }
    }
}
