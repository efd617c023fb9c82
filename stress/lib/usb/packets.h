// Packets that say whose they are.
//
// A bulk transfer may be cut anywhere between two packets: by the bandwidth of a frame, by a cancel
// on either side, by an endpoint that is disabled.  So each packet of 512 bytes names itself: a
// request's result is checked packet by packet, whatever became of its neighbours.
//
//   header   magic · endpoint · index in its transfer · name of the transfer
//   payload  a pattern of the name and the index (lib/pattern.h)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace at {

constexpr std::size_t usb_packet_bytes = 512; // of a bulk endpoint at high speed
constexpr std::size_t usb_header_bytes = 16;

struct PacketName {
    std::uint32_t endpoint = 0;
    std::uint32_t index = 0;
    std::uint64_t transfer = 0;
};

// One packet of `length` bytes, at least a header.
void fill_packet(const PacketName& name, std::byte* to, std::size_t length);

// All packets of a transfer; the last one may be short.
void fill_transfer(std::uint32_t endpoint, std::uint64_t transfer, std::byte* to,
                   std::size_t length);

enum class PacketFault { none, header, payload };
// Reads the name out of the header, and checks that the payload is that name's.
PacketFault check_packet(const std::byte* bytes, std::size_t length, PacketName& name);

std::string describe_packet(const std::byte* bytes, std::size_t length);

} // namespace at
