// The whole stressor against an ordinary file: nothing there can be cancelled and nothing is
// wrong, so every oracle must stay silent while all racers run.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "lib/supervisor.h"
#include "lib/system.h"

namespace {

struct TemporaryFile {
    char path[32] = "/tmp/aiotorture-test-XXXXXX";
    TemporaryFile() {
        at::Fd fd(mkstemp(path));
        REQUIRE(fd);
        REQUIRE(ftruncate(fd.get(), 16 << 20) == 0);
    }
    ~TemporaryFile() { unlink(path); }
};

nlohmann::json run(const std::string& plan) {
    const TemporaryFile file;
    at::RunRequest request;
    request.plan = at::parse_plan(plan);
    request.device = file.path;
    request.deadline = std::chrono::milliseconds(40000);
    at::RunHooks hooks;
    hooks.emit = [](const nlohmann::json&) {};
    hooks.attend = [](std::chrono::milliseconds bound) {
        usleep(static_cast<useconds_t>(bound.count() * 1000));
        return false;
    };
    return at::supervise(request, hooks);
}

} // namespace

TEST_CASE("submit_cancel_race on a file finds nothing, and counts every request once", "[race]") {
    const auto result = run("scenario submit_cancel_race cancel=none time=2s requests=4000;seed 5");
    INFO(result.dump());
    CHECK(result.at("findings").empty());
    CHECK(result.at("error").is_null());
    const auto& counters = result.at("counters");
    CHECK(counters.at("submitted") == counters.at("completed"));
    CHECK(counters.at("submitted").get<int>() > 1000);
}

TEST_CASE("destroy_under_load on a file finds nothing, and counts every request once", "[race]") {
    const auto result = run("scenario destroy_under_load cancel=none time=2s requests=2000;seed 6");
    INFO(result.dump());
    CHECK(result.at("findings").empty());
    CHECK(result.at("error").is_null());
    const auto& counters = result.at("counters");
    CHECK(counters.at("submitted").get<int>() ==
          counters.at("completed").get<int>() + counters.at("swept").get<int>());
    CHECK(counters.at("destroyed").get<int>() > 10);
}

TEST_CASE("a race that is ended by SIGKILL finds nothing", "[race]") {
    const auto result =
        run("scenario destroy_under_load cancel=none exit_kill=1 time=1s requests=500;seed 7");
    INFO(result.dump());
    CHECK(result.at("findings").empty());
    CHECK(result.at("error").is_null());
}

TEST_CASE("many lives, each ended in mid-flight, find nothing", "[race]") {
    const auto result = run("scenario exit_under_load cancel=none time=2s end=kill;seed 8");
    INFO(result.dump());
    CHECK(result.at("findings").empty());
    CHECK(result.at("error").is_null());
    CHECK(result.at("counters").at("lives").get<int>() > 2);
}

TEST_CASE("blind stress makes all calls, finds nothing and places nobody", "[race]") {
    const auto result = run("scenario destroy_under_load cancel=none blind=1 time=1s requests=9000;"
                            "seed 9");
    INFO(result.dump());
    CHECK(result.at("findings").empty());
    CHECK(result.at("error").is_null());
    CHECK(result.at("heat").is_null());
    const auto& counters = result.at("counters");
    CHECK(counters.at("cancel_calls").get<int>() > 50);
    CHECK(counters.at("destroyed").get<int>() > 5);
}

TEST_CASE("blind stress and a planned window exclude each other") {
    CHECK_THROWS_AS(run("scenario submit_cancel_race cancel=none blind=1 time=1s;"
                        "window canceller in queue..start"),
                    at::PlanError);
}

TEST_CASE("what cannot be run is an error and not a finding") {
    at::RunRequest request;
    request.plan = at::parse_plan("scenario submit_cancel_race depth=1024 submitters=16");
    CHECK_THROWS_AS(at::supervise(request, {}), at::PlanError);
}

TEST_CASE("melee on a file finds nothing, whatever disturbs it", "[race]") {
    for (const char* disturb : {"close+signals+poll", "fork+remap+open", "rings+storm"}) {
        const auto result =
            run("scenario melee cancel=none time=1s requests=1000 disturb=" + std::string(disturb) +
                ";seed 8");
        INFO(result.dump());
        CHECK(result.at("findings").empty());
        CHECK(result.at("error").is_null());
        CHECK(result.at("counters").at("disturbed").get<int>() > 10);
    }
}
