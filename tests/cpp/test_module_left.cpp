#include <algorithm>

#include <unistd.h>

#include <catch2/catch.hpp>

#include "lib/oracles/module_left.h"

namespace {

const at::ModuleRange gone{"zcdma", 0xffffffffc0241000, 53248};

std::string stat_of(const std::string& name, const std::string& parent) {
    return "71 (" + name + ") I " + parent + " 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 0 -20 1 0 153 0 0";
}

std::string mapping(const std::string& range, const std::string& caller) {
    return "0xffffc90000000000-0xffffc90000005000   20480 irq_init_percpu_irqstack+0xd1/0x1b0 "
           "vmap\n" +
           range + " 1052672 " + caller + " pages=256 vmalloc N0=256\n";
}

const char range[] = "0xffffc90000101000-0xffffc90000202000";
const char elsewhere[] = "0xffffc90000401000-0xffffc90000502000";

std::size_t left(const std::string& caller, const std::string& before = "") {
    return at::left_mappings(mapping(range, caller), before, {gone}).size();
}

} // namespace

TEST_CASE("a kernel thread that carries an unloaded module's name is left") {
    CHECK(at::thread_of_module(stat_of("zcdma0", "2"), "zcdma") == "zcdma0");
    CHECK(at::thread_of_module(stat_of("kworker/R-zcdma0", "2"), "zcdma") == "kworker/R-zcdma0");
    CHECK(at::thread_of_module(stat_of("zcdma (odd) 1", "2"), "zcdma") == "zcdma (odd) 1");
}

TEST_CASE("processes, and threads of others, are not the module's") {
    CHECK(at::thread_of_module(stat_of("zcdma0", "1"), "zcdma").empty());
    CHECK(at::thread_of_module(stat_of("kworker/0:1", "2"), "zcdma").empty());
    CHECK(at::thread_of_module(stat_of("zcd", "2"), "zcdma").empty());
    CHECK(at::thread_of_module("", "zcdma").empty());
    CHECK(at::thread_of_module(")(", "zcdma").empty());
}

TEST_CASE("memory that an unloaded module has mapped is told with its place") {
    const auto found = at::left_mappings(mapping(range, "0xffffffffc0242abc"), "", {gone});
    REQUIRE(found.size() == 1);
    CHECK(found[0].module == "zcdma");
    CHECK(found[0].told == "1052672 bytes by zcdma+0x1abc");
}

TEST_CASE("mappings of the core, of other modules and of before are silent") {
    CHECK(left("0xffffffffc0242abc") == 1);
    CHECK(left("load_module+0x63/0x1b20") == 0);
    CHECK(left("0xffffffffc0231abc") == 0);
    CHECK(left("0xffffffffc0242abc", mapping(range, "0xffffffffc0242abc")) == 0);
    CHECK(left("0xffffffffc0242abc", mapping(elsewhere, "0xffffffffc0242abc")) == 1);
}

TEST_CASE("what a module that is gone has left is told by its kind") {
    at::KernelPlaces before;
    before.paths = {"/dev/zcdma_mem", "/dev/null"};
    at::KernelPlaces now = before;
    now.paths.insert("/sys/kernel/slab/zcdma_req");
    now.paths.insert("/sys/kernel/slab/other");
    now.stats = {stat_of("kthreadd", "0"), stat_of("zcdma0", "2")};
    now.vmallocinfo = mapping(range, "0xffffffffc0242abc");
    now.coherent = 2;
    const auto found = at::judge_module_left(now, before, {gone, gone});
    REQUIRE(found.size() == 4);
    CHECK(found[0].signature == "leak/module-left/zcdma/name");
    CHECK(found[0].evidence.at(0) == "/sys/kernel/slab/zcdma_req");
    CHECK(found[1].signature == "leak/module-left/zcdma/thread");
    CHECK(found[2].signature == "leak/module-left/zcdma/mapping");
    CHECK(found[3].signature == "leak/module-left/zcdma/coherent");
    CHECK(at::judge_module_left(before, before, {gone}).empty());
    CHECK(at::judge_module_left(now, before, {}).empty());
}

TEST_CASE("a task that was there before is not asked for its name again") {
    const at::KernelPlaces before = at::read_kernel_places(nullptr);
    CHECK(before.tasks.count(std::to_string(getpid())));
    CHECK(before.stats.empty());
    at::KernelPlaces without = before;
    without.tasks.erase(std::to_string(getpid()));
    const at::KernelPlaces now = at::read_kernel_places(&without);
    CHECK(std::any_of(now.stats.begin(), now.stats.end(), [](const std::string& stat) {
        return stat.compare(0, stat.find(' '), std::to_string(getpid())) == 0;
    }));
}
