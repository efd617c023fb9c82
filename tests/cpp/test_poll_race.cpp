// The poll stressor against this machine's own kernel.  What it finds there about the kernel is
// not this test's business; that its ledger is exact, and that a planted loss is found, is.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <unistd.h>

#include "lib/supervisor.h"

namespace {

nlohmann::json run(const std::string& plan) {
    at::RunRequest request;
    request.plan = at::parse_plan(plan);
    request.deadline = std::chrono::milliseconds(40000);
    at::RunHooks hooks;
    hooks.emit = [](const nlohmann::json&) {};
    hooks.attend = [](std::chrono::milliseconds bound) {
        usleep(static_cast<useconds_t>(bound.count() * 1000));
        return false;
    };
    return at::supervise(request, hooks);
}

bool found(const nlohmann::json& result, const std::string& signature) {
    const auto& findings = result.at("findings");
    return std::any_of(findings.begin(), findings.end(), [&](const nlohmann::json& finding) {
        return finding.at("signature").get<std::string>().starts_with(signature);
    });
}

} // namespace

TEST_CASE("poll_race counts every request once", "[race]") {
    const auto result = run("scenario poll_race time=2s destroyers=1;seed 5");
    INFO(result.dump());
    CHECK(result.at("error").is_null());
    for (const char* kind : {"ledger", "hang", "leak"})
        CHECK_FALSE(found(result, kind));
    const auto& counters = result.at("counters");
    CHECK(counters.at("submitted").get<int>() ==
          counters.at("completed").get<int>() + counters.at("swept").get<int>());
    CHECK(counters.at("cancel_won").get<int>() > 100);
    CHECK(counters.at("wakes").get<int>() > 50);
}

TEST_CASE("a poll race that is ended by SIGKILL loses nothing", "[race]") {
    const auto result = run("scenario poll_race time=1s exit_kill=1;seed 7");
    INFO(result.dump());
    CHECK(result.at("error").is_null());
    for (const char* kind : {"ledger", "hang", "leak"})
        CHECK_FALSE(found(result, kind));
}

TEST_CASE("a wake-up that is lost is found", "[race]") {
    const auto result = run("scenario poll_race time=20s bound=500ms plant=wake-lost;seed 8");
    INFO(result.dump());
    CHECK(found(result, "hang/wake-up/"));
}

TEST_CASE("an event that comes twice is found", "[race]") {
    const auto result = run("scenario poll_race time=3s plant=event-twice;seed 9");
    INFO(result.dump());
    CHECK(found(result, "ledger/duplicate"));
}
