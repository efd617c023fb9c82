#include <catch2/catch.hpp>

#include "lib/oracles/module_memory.h"

namespace {

const char modules[] = "zcdma 53248 0 - Live 0xffffffffc0241000 (OE)\n"
                       "fail_injector 61440 1 zcdma, Live 0xffffffffc0231000 (OE)\n";

const at::ModuleRange gone = at::parse_module(modules, "zcdma");

std::string record(const std::string& first, const std::string& frame) {
    return "     97 event_create_dir+0x3f1/0x510 waste=2328/24 age=4021/4091/4160 pid=30 cpus=1\n"
           "        kmalloc_trace+0x26/0x90\n"
           "        event_create_dir+0x3f1/0x510\n"
           "\n"
           "     " +
           first +
           " waste=80/8 age=13/20/33 pid=101 cpus=0-1\n"
           "        kmalloc_trace+0x26/0x90\n"
           "        " +
           frame +
           "\n"
           "        misc_open+0x120/0x190\n"
           "\n";
}

} // namespace

TEST_CASE("a module's place is read off /proc/modules") {
    CHECK(gone.start == 0xffffffffc0241000);
    CHECK(gone.bytes == 53248);
    CHECK(at::parse_module(modules, "fail_injector").bytes == 61440);
    CHECK(at::parse_module(modules, "zcd").bytes == 0);
}

TEST_CASE("what an unloaded module allocated and did not free is told with its place") {
    const auto found = at::judge_module_memory(
        "kmalloc-64", record("1 0xffffffffc0242abc", "0xffffffffc0242abc"), {gone}, 13);
    REQUIRE(found.size() == 1);
    CHECK(found[0].signature == "leak/module-memory/zcdma/kmalloc-64");
    CHECK(found[0].evidence.at(0) == "1 objects, by zcdma+0x1abc");
}

TEST_CASE("what others allocated is silent, and so are few objects of the core's") {
    const auto of = [](const std::string& first, const std::string& frame) {
        return at::judge_module_memory("kmalloc-64", record(first, frame), {gone}, 13).size();
    };
    CHECK(of("9 sg_kmalloc+0x1c/0x30", "misc_open+0x120/0x190") == 0);
    CHECK(of("9 0xffffffffc0231abc", "0xffffffffc0231abc") == 0); // another module
    CHECK(of("7 __kernfs_new_node+0x1c/0x30", "0xffffffffc0242abc") == 0);
    CHECK(of("8 __kernfs_new_node+0x1c/0x30", "0xffffffffc0242abc") == 1);
    // a scatterlist is its caller's
    CHECK(of("1 sg_kmalloc+0x1c/0x30", "0xffffffffc0242abc") == 1);
    CHECK(at::judge_module_memory("kmalloc-64", "", {gone}, 13).empty());
}

TEST_CASE("what is older than the module was allocated by another that lay there before") {
    const auto text = record("1 0xffffffffc0242abc", "0xffffffffc0242abc"); // age=13/20/33
    CHECK(at::judge_module_memory("kmalloc-64", text, {gone}, 12).empty());
    CHECK(at::judge_module_memory("kmalloc-64", text, {gone}, 13).size() == 1);
}
