// The oracles of a gadget's endpoints: packets that name themselves, and answers that were earned.

#include <atomic>
#include <cerrno>
#include <vector>

#include <catch2/catch.hpp>

#include "lib/oracles/gadget_contract.h"
#include "lib/oracles/gadget_data.h"
#include "lib/usb/packets.h"

using namespace at;

TEST_CASE("each packet of a transfer says whose it is") {
    std::vector<std::byte> bytes(2 * usb_packet_bytes + 40);
    fill_transfer(3, 0x1234567890, bytes.data(), bytes.size());
    for (std::uint32_t index = 0; index < 3; ++index) {
        PacketName name;
        const std::size_t length = index < 2 ? usb_packet_bytes : 40;
        CHECK(check_packet(&bytes[index * usb_packet_bytes], length, name) == PacketFault::none);
        CHECK(name.endpoint == 3);
        CHECK(name.index == index);
        CHECK(name.transfer == 0x1234567890);
    }
}

TEST_CASE("a byte that is not the packet's own is seen") {
    std::vector<std::byte> bytes(usb_packet_bytes);
    PacketName name;
    SECTION("in the payload") {
        fill_transfer(0, 7, bytes.data(), bytes.size());
        bytes[300] ^= std::byte{1};
        CHECK(check_packet(bytes.data(), bytes.size(), name) == PacketFault::payload);
    }
    SECTION("in the header") {
        fill_transfer(0, 7, bytes.data(), bytes.size());
        bytes[0] ^= std::byte{1};
        CHECK(check_packet(bytes.data(), bytes.size(), name) == PacketFault::header);
    }
    SECTION("another transfer's payload behind this one's header") {
        std::vector<std::byte> other(usb_packet_bytes);
        fill_transfer(0, 7, bytes.data(), bytes.size());
        fill_transfer(0, 8, other.data(), other.size());
        std::copy(other.begin() + 64, other.end(), bytes.begin() + 64);
        CHECK(check_packet(bytes.data(), bytes.size(), name) == PacketFault::payload);
    }
    SECTION("nothing but zeroes") {
        CHECK(check_packet(bytes.data(), bytes.size(), name) == PacketFault::header);
    }
    SECTION("too short for a name") {
        fill_transfer(0, 7, bytes.data(), bytes.size());
        CHECK(check_packet(bytes.data(), 8, name) == PacketFault::header);
    }
}

TEST_CASE("what an event on an endpoint may carry") {
    struct Case {
        const char* what;
        GadgetAnswer answer;
        const char* signature; // "": legal
    };
    auto answer = [](std::int64_t res, bool is_read, std::uint32_t einprogress = 0,
                     bool destroyed = false, bool disabled = false, bool partial = false) {
        GadgetAnswer made;
        made.res = res;
        made.is_read = is_read;
        made.length = 1024;
        made.einprogress = einprogress;
        made.destroyed = destroyed;
        made.disabled = disabled;
        made.partial = partial;
        return made;
    };
    const Case cases[] = {
        {"a whole write", answer(1024, false), ""},
        {"a read of one packet", answer(512, true), ""},
        {"a short write", answer(512, false), "contract/short"},
        {"a short write, cancelled, of functionfs", answer(512, false, 1), "contract/short"},
        {"a short write, cancelled, of gadgetfs", answer(512, false, 1, false, false, true), ""},
        {"a short write of gadgetfs", answer(512, false, 0, false, false, true), "contract/short"},
        {"a read of nothing", answer(0, true), "contract/empty"},
        {"more than was asked for", answer(1025, true), "contract/overlong"},
        {"cancelled", answer(-ECONNRESET, true, 1), ""},
        {"ended by io_destroy", answer(-ECONNRESET, true, 0, true), ""},
        {"cancelled by nobody", answer(-ECONNRESET, true), "contract/cancelled-by-nobody"},
        {"cancelled twice", answer(-ECONNRESET, true, 2), "contract/cancelled-twice"},
        {"unbound", answer(-ESHUTDOWN, true, 0, false, true), ""},
        {"unbound by nobody", answer(-ESHUTDOWN, true), "contract/shutdown-by-nobody"},
        {"the endpoint was busy", answer(-EAGAIN, true), ""},
        {"an errno out of nowhere", answer(-EFAULT, true), "contract/unexplained-EFAULT"},
    };
    for (const Case& each : cases) {
        INFO(each.what);
        const auto finding = judge_gadget(each.answer);
        CHECK((finding ? finding->signature : "") == each.signature);
    }
    GadgetAnswer odd = answer(1024, false);
    odd.res2 = 1;
    CHECK(judge_gadget(odd)->signature == "contract/res2");
}

TEST_CASE("what io_cancel may say of a request on an endpoint") {
    CHECK_FALSE(judge_gadget_cancel(-EINPROGRESS, false, false));
    CHECK_FALSE(judge_gadget_cancel(-EINVAL, false, false));
    CHECK_FALSE(judge_gadget_cancel(-ESHUTDOWN, false, true));
    CHECK(judge_gadget_cancel(-ESHUTDOWN, false, false));
    CHECK(judge_gadget_cancel(-EALREADY, false, false)->signature == "contract/cancel-EALREADY");
    CHECK(judge_gadget_cancel(0, false, false));
    CHECK(judge_gadget_cancel(-EINPROGRESS, true, false));
    CHECK(judge_gadget_cancel(-ESHUTDOWN, true, true));
}

TEST_CASE("a read is given packets of its endpoint, each once") {
    std::vector<std::atomic<std::uint64_t>> delivered(1024);
    std::vector<std::byte> buffer(4 * usb_packet_bytes, gadget_canary);
    const auto verdict = [&](std::size_t result) {
        const auto finding = judge_gadget_read({buffer.data(), result}, 2, "functionfs", delivered);
        return finding ? finding->signature : "";
    };
    CHECK(verdict(0).empty());
    CHECK(verdict(100) == "data/read-unwritten/functionfs");
    fill_transfer(2, 7, buffer.data(), 2 * usb_packet_bytes);
    CHECK(verdict(2 * usb_packet_bytes).empty());
    CHECK(verdict(2 * usb_packet_bytes) == "data/read-twice");
    fill_transfer(0, 8, buffer.data(), 2 * usb_packet_bytes);
    CHECK(verdict(2 * usb_packet_bytes) == "data/read");
    fill_transfer(2, 9, buffer.data(), 2 * usb_packet_bytes);
    buffer[700] ^= std::byte{1};
    CHECK(verdict(2 * usb_packet_bytes) == "data/read");
    CHECK(!judge_behind_result(buffer, 2 * usb_packet_bytes));
    CHECK(judge_behind_result(buffer, usb_packet_bytes)->signature == "data/beyond-result");
}

TEST_CASE("the host receives all of a write, in order and once") {
    CHECK(wrong_packet(PacketFault::none, true, false) == nullptr);
    CHECK(wrong_packet(PacketFault::header, true, false));
    CHECK(wrong_packet(PacketFault::payload, true, false));
    CHECK(wrong_packet(PacketFault::none, false, false));
    CHECK(wrong_packet(PacketFault::none, true, true));
    CHECK(wrong_place(2, 2) == nullptr);
    const char* const twice = wrong_place(1, 2);
    REQUIRE(twice);
    CHECK(wrong_place(3, 2) != twice);
    std::vector<std::byte> bytes(usb_packet_bytes);
    CHECK(packet_finding(twice, bytes.data(), bytes.size()).signature == "data/write");
    CHECK(!judge_owed(3, 3, 1));
    CHECK(judge_owed(3, 2, 1)->signature == "data/write-lost");
    CHECK(judge_owed(3, 0, 1)->title != judge_owed(3, 2, 1)->title);
}
