#include "lib/usb/packets.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "lib/pattern.h"

namespace at {

namespace {

constexpr std::uint16_t magic = 0xa10b;

struct Header {
    std::uint16_t magic;
    std::uint16_t endpoint;
    std::uint32_t index;
    std::uint64_t transfer;
};
static_assert(sizeof(Header) == usb_header_bytes);

std::uint64_t payload_of(const PacketName& name) {
    return stamp(Stamp::payload, name.endpoint << 8 | (name.index & 0xff), name.transfer);
}

} // namespace

void fill_packet(const PacketName& name, std::byte* to, std::size_t length) {
    const Header header{magic, static_cast<std::uint16_t>(name.endpoint), name.index,
                        name.transfer};
    std::memcpy(to, &header, sizeof header);
    pattern_fill(payload_of(name), 0, to + sizeof header, length - sizeof header);
}

void fill_transfer(std::uint32_t endpoint, std::uint64_t transfer, std::byte* to,
                   std::size_t length) {
    std::uint32_t index = 0;
    for (std::size_t at = 0; at < length; at += usb_packet_bytes)
        fill_packet({endpoint, index++, transfer}, to + at,
                    std::min(usb_packet_bytes, length - at));
}

PacketFault check_packet(const std::byte* bytes, std::size_t length, PacketName& name) {
    Header header{};
    if (length < sizeof header)
        return PacketFault::header;
    std::memcpy(&header, bytes, sizeof header);
    name = {header.endpoint, header.index, header.transfer};
    if (header.magic != magic)
        return PacketFault::header;
    const std::size_t payload = length - sizeof header;
    return pattern_check(payload_of(name), 0, bytes + sizeof header, payload) == pattern_matches
               ? PacketFault::none
               : PacketFault::payload;
}

std::string describe_packet(const std::byte* bytes, std::size_t length) {
    std::string text = "packet of " + std::to_string(length) + " bytes begins";
    for (std::size_t i = 0; i < std::min<std::size_t>(length, 24); ++i) {
        char hex[4];
        std::snprintf(hex, sizeof hex, " %02x", static_cast<unsigned>(bytes[i]));
        text += hex;
    }
    return text;
}

} // namespace at
