// Data oracle of a gadget's requests: packets name themselves (lib/usb/packets.h), so each end says
// what the other sent, that all of it came, and that nothing came twice.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "lib/findings.h"
#include "lib/usb/packets.h"

namespace at {

// What a request's buffer holds where nobody wrote.
constexpr std::byte gadget_canary{0xc5};

// A read's result.  `delivered`: names of the endpoint's packets that some read was given, + 1, by
// their low bits.
std::optional<Finding> judge_gadget_read(std::span<const std::byte> result, std::uint32_t endpoint,
                                         const std::string& driver,
                                         std::span<std::atomic<std::uint64_t>> delivered);

// The buffer behind a read's result.
std::optional<Finding> judge_behind_result(std::span<const std::byte> buffer, std::size_t result);

// A packet that the host received, by itself: what is wrong with it, or nullptr.  `known`: its slot
// is one of this endpoint's, and has had a request of that name; `older`: the host has seen a newer
// one of the slot.
const char* wrong_packet(PacketFault fault, bool known, bool older);
// The same in its request, of which `received` packets came before.
const char* wrong_place(std::uint32_t index, std::uint32_t received);
Finding packet_finding(const char* wrong, const std::byte* bytes, std::size_t length);

// A write that was answered for so many packets, when a later one of its slot has come.
std::optional<Finding> judge_owed(std::uint32_t answered, std::uint32_t received,
                                  std::uint64_t generation);

} // namespace at
