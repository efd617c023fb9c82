#include "lib/oracles/gadget_data.h"

#include <algorithm>

namespace at {

std::optional<Finding> judge_gadget_read(std::span<const std::byte> result, std::uint32_t endpoint,
                                         const std::string& driver,
                                         std::span<std::atomic<std::uint64_t>> delivered) {
    if (!result.empty() && std::all_of(result.begin(), result.end(),
                                       [](std::byte byte) { return byte == gadget_canary; }))
        return Finding{"data",
                       "a read was answered as done and its buffer was not written: " + driver,
                       "data/read-unwritten/" + driver,
                       {}};
    for (std::size_t at = 0; at < result.size(); at += usb_packet_bytes) {
        const std::byte* bytes = result.data() + at;
        const std::size_t length = std::min(usb_packet_bytes, result.size() - at);
        PacketName name;
        const PacketFault fault = check_packet(bytes, length, name);
        if (fault != PacketFault::none || name.endpoint != endpoint)
            return Finding{"data",
                           fault == PacketFault::header ? "a read's packet has no name"
                           : fault == PacketFault::payload
                               ? "a read's packet carries another's bytes"
                               : "a read was given another endpoint's packet",
                           "data/read",
                           {describe_packet(bytes, length)}};
        const std::uint64_t key = (name.transfer << 6 | (name.index & 63)) + 1;
        // relaxed: the name alone is told; exchange() lets one of two readers see the other.
        if (delivered[key % delivered.size()].exchange(key, std::memory_order_relaxed) == key)
            return Finding{"data",
                           "one packet of the host was given to two reads",
                           "data/read-twice",
                           {describe_packet(bytes, length)}};
    }
    return std::nullopt;
}

std::optional<Finding> judge_behind_result(std::span<const std::byte> buffer, std::size_t result) {
    const auto touched =
        std::find_if(buffer.begin() + static_cast<std::ptrdiff_t>(result), buffer.end(),
                     [](std::byte byte) { return byte != gadget_canary; });
    if (touched == buffer.end())
        return std::nullopt;
    return Finding{"data",
                   "memory behind a read's result was written",
                   "data/beyond-result",
                   {"first at byte " + std::to_string(touched - buffer.begin())}};
}

const char* wrong_packet(PacketFault fault, bool known, bool older) {
    if (fault != PacketFault::none)
        return fault == PacketFault::header ? "the host received a packet without a name"
                                            : "the host received a packet with another's bytes";
    if (!known)
        return "the host received a packet that nobody wrote";
    return older ? "the host received a packet of an earlier request" : nullptr;
}

const char* wrong_place(std::uint32_t index, std::uint32_t received) {
    if (index == received)
        return nullptr;
    return index < received ? "the host received one packet twice"
                            : "the host missed a packet within a request";
}

Finding packet_finding(const char* wrong, const std::byte* bytes, std::size_t length) {
    return {"data", wrong, "data/write", {describe_packet(bytes, length)}};
}

std::optional<Finding> judge_owed(std::uint32_t answered, std::uint32_t received,
                                  std::uint64_t generation) {
    if (answered <= received)
        return std::nullopt;
    return Finding{"data",
                   received ? "a write was answered as done and the host has a part of it"
                            : "a write was answered as done and the host never got it",
                   "data/write-lost",
                   {"packets answered " + std::to_string(answered) + ", received " +
                    std::to_string(received) + ", generation " + std::to_string(generation)}};
}

} // namespace at
