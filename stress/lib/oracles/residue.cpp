#include "lib/oracles/residue.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "lib/pattern.h"

namespace at {

namespace {

std::string hex_at(const std::byte* bytes, std::size_t length) {
    std::string text;
    char digits[4];
    for (std::size_t i = 0; i < std::min<std::size_t>(length, 16); ++i) {
        std::snprintf(digits, sizeof digits, "%02x ", static_cast<unsigned>(bytes[i]));
        text += digits;
    }
    return text;
}

Finding data_finding(const char* kind, const char* title, std::uint32_t index, std::uint32_t at,
                     const std::byte* bytes, std::size_t length) {
    return {"data",
            title,
            std::string("data/") + kind,
            {"slot " + std::to_string(index) + ", byte " + std::to_string(at) +
             " of the request: " + hex_at(bytes, length)}};
}

Finding late(const char* kind, const std::string& title, std::uint32_t index, std::size_t at,
             const std::byte* bytes, std::size_t length) {
    return {"late-write",
            title,
            std::string("late-write/") + kind,
            {"slot " + std::to_string(index) + ", byte " + std::to_string(at) +
             " of its buffer: " + hex_at(bytes, length)}};
}

// Eight bytes that match by chance: 2^-64 for each place.
constexpr std::size_t telling_bytes = 8;
constexpr std::size_t max_buffer_bytes = std::size_t{8} << 20;

// Do these bytes of a read look like the re-patterned source of the region's last write?
bool shows_source(const Slot& slot, std::uint32_t index, const std::byte* buffer,
                  const Region& region, std::uint64_t region_at, const Segment& segment,
                  std::uint32_t done, std::uint32_t i) {
    const std::uint64_t device_at = slot.device_at + done + i - region_at;
    return region.source_length && segment.length - i >= telling_bytes &&
           device_at >= region.source_device_at &&
           device_at + telling_bytes <= region.source_device_at + region.source_length &&
           pattern_check(canary_of(index),
                         region.source_buffer_at + (device_at - region.source_device_at),
                         buffer + segment.at + i, telling_bytes) == pattern_matches;
}

// Whose bytes these are: the slot's canary, or what one of its last writes had to write.
std::string origin_of(std::uint32_t index, const std::byte* bytes, std::size_t length,
                      const Region& region) {
    const auto found = [&](std::uint64_t stamp) {
        const std::size_t at = pattern_place(stamp, bytes, length);
        return at < max_buffer_bytes ? std::optional(at) : std::nullopt;
    };
    if (const auto at = found(canary_of(index)))
        return "the slot's canary from byte " + std::to_string(*at) + " of its buffer";
    for (const Region::Past& write : region.past())
        if (write.generation)
            if (const auto at = found(stamp(Stamp::payload, index, write.generation)))
                return "byte " + std::to_string(*at) + " of the write of generation " +
                       std::to_string(write.generation);
    return "of unknown origin";
}

// Names what a wrong byte of a read is: left untouched, or the re-patterned source of a write.
Finding name_mismatch(const Slot& slot, std::uint32_t index, const std::byte* buffer,
                      const Region& region, std::uint64_t region_at, const Segment& segment,
                      std::uint32_t done, std::uint32_t i) {
    const std::uint64_t canary = canary_of(index);
    const std::byte* bytes = buffer + segment.at + i;
    const std::uint32_t left = segment.length - i;
    const std::size_t telling = std::min<std::size_t>(left, telling_bytes);
    if (pattern_check(canary, segment.at + i, bytes, telling) == pattern_matches)
        return data_finding("untouched", "a read reports bytes that were never written", index,
                            done + i, bytes, left);
    if (shows_source(slot, index, buffer, region, region_at, segment, done, i))
        return late("source", "the device read the source of a write after its event", index,
                    segment.at + i, bytes, left);
    Finding finding = data_finding("wrong", "a read returned other bytes than the last write left",
                                   index, done + i, bytes, left);
    std::uint32_t run = 0;
    while (run < left && region.known(slot.device_at + done + i + run - region_at) &&
           bytes[run] != region.at(slot.device_at + done + i + run - region_at))
        ++run;
    finding.evidence.push_back(std::to_string(run) + " bytes, " +
                               origin_of(index, bytes, left, region));
    for (const Region::Past& write : region.past())
        if (write.generation)
            finding.evidence.push_back("write generation " + std::to_string(write.generation) +
                                       " device_at=" + std::to_string(region_at + write.device_at) +
                                       " len=" + std::to_string(write.length) +
                                       " segments=" + std::to_string(write.segments) +
                                       " res=" + std::to_string(write.res));
    return finding;
}

} // namespace

void Region::wrote(std::uint64_t at, std::uint64_t length) {
    if (!length)
        return;
    const std::uint64_t end = at + length;
    if (to_ > from_ && at <= to_ && end >= from_) {
        from_ = std::min(from_, at);
        to_ = std::max(to_, end);
    } else if (length >= to_ - from_) {
        from_ = at;
        to_ = end;
    }
}

void Region::unknown(std::uint64_t at, std::uint64_t length) {
    const std::uint64_t end = at + length;
    if (!length || end <= from_ || at >= to_)
        return;
    const std::uint64_t below = at > from_ ? at - from_ : 0;
    const std::uint64_t above = to_ > end ? to_ - end : 0;
    if (below >= above)
        to_ = from_ + below;
    else
        from_ = end;
}

std::uint64_t canary_of(std::uint32_t slot) {
    return stamp(Stamp::canary, slot, 0);
}

std::optional<Finding> judge_read(const Slot& slot, std::uint32_t index, const std::byte* buffer,
                                  const Region& region, std::uint64_t region_at) {
    const std::uint64_t canary = canary_of(index);
    const std::uint64_t moved = slot.res > 0 ? static_cast<std::uint64_t>(slot.res) : 0;
    std::uint32_t done = 0;
    for (std::uint32_t s = 0; s < slot.segments; ++s) {
        const Segment& segment = slot.segment[s];
        const std::byte* bytes = buffer + segment.at;
        // The edge of the device belongs to no region: its bytes are not known.
        const std::uint64_t at = slot.edge ? region.bytes() : slot.device_at + done - region_at;
        if (!slot.edge && done + segment.length <= moved && at >= region.known_from() &&
            at + segment.length <= region.known_to()) {
            // The common case in one comparison.
            if (std::memcmp(bytes, const_cast<Region&>(region).content(at), segment.length) == 0) {
                done += segment.length;
                continue;
            }
        }
        std::uint32_t untouched_run = 0;
        for (std::uint32_t i = 0; i < segment.length; ++i) {
            const bool is_canary = bytes[i] == pattern_byte(canary, segment.at + i);
            const bool is_known = !slot.edge && region.known(at + i);
            const bool right = is_known && bytes[i] == region.at(at + i);
            if (done + i < moved) {
                untouched_run = is_canary ? untouched_run + 1 : 0;
                if (is_known && !right)
                    return name_mismatch(slot, index, buffer, region, region_at, segment, done, i);
                if (!slot.edge && !is_known && i % telling_bytes == 0 &&
                    shows_source(slot, index, buffer, region, region_at, segment, done, i))
                    return name_mismatch(slot, index, buffer, region, region_at, segment, done, i);
                if (!is_known && untouched_run >= telling_bytes)
                    return data_finding("untouched", "a read reports bytes that were never written",
                                        index, done + i, bytes + i, segment.length - i);
            } else if (is_known && !is_canary && !right) {
                return data_finding("beyond-result",
                                    "bytes beyond a read's result are neither untouched nor right",
                                    index, done + i, bytes + i, segment.length - i);
            }
        }
        done += segment.length;
    }
    return std::nullopt;
}

std::optional<Finding> judge_source(const Slot& slot, std::uint64_t payload,
                                    const std::byte* buffer) {
    std::size_t done = 0;
    for (std::uint32_t s = 0; s < slot.segments; ++s) {
        const Segment& segment = slot.segment[s];
        if (pattern_check(payload, done, buffer + segment.at, segment.length) != pattern_matches)
            return Finding{"data", "the source of a write was changed", "data/source", {}};
        done += segment.length;
    }
    return std::nullopt;
}

std::optional<Finding> judge_guards(const Slot& slot, std::uint32_t index, const std::byte* buffer,
                                    std::uint32_t stride, std::uint32_t margin) {
    const std::uint64_t canary = canary_of(index);
    std::array<Segment, max_segments> segments; // by address
    std::copy_n(slot.segment, slot.segments, segments.begin());
    for (std::uint32_t s = 1; s < slot.segments; ++s)
        for (std::uint32_t t = s; t && segments[t].at < segments[t - 1].at; --t)
            std::swap(segments[t], segments[t - 1]);
    std::uint32_t from = segments[0].at > margin ? segments[0].at - margin : 0;
    for (std::uint32_t s = 0; s <= slot.segments; ++s) {
        const bool last = s == slot.segments;
        const std::uint32_t to = last ? std::min(stride, from + margin) : segments[s].at;
        if (to > from) {
            const std::size_t bad = pattern_check(canary, from, buffer + from, to - from);
            if (bad != pattern_matches)
                return Finding{"data",
                               "bytes outside a request's buffer were written",
                               "data/guard",
                               {"slot " + std::to_string(index) + ", byte " +
                                std::to_string(from + bad) +
                                " of its buffer: " + hex_at(buffer + from + bad, to - from - bad)}};
        }
        if (!last)
            from = segments[s].at + segments[s].length;
    }
    return std::nullopt;
}

std::optional<Finding> judge_quiet(const Slot& slot, std::uint32_t index, const std::byte* buffer,
                                   const char* when) {
    const std::uint64_t canary = canary_of(index);
    for (std::uint32_t s = 0; s < slot.segments; ++s) {
        const Segment& segment = slot.segment[s];
        const std::size_t bad =
            pattern_check(canary, segment.at, buffer + segment.at, segment.length);
        if (bad != pattern_matches)
            return late(when, std::string("a buffer was written after ") + when, index,
                        segment.at + bad, buffer + segment.at + bad, segment.length - bad);
    }
    return std::nullopt;
}

std::optional<Finding> judge_quiet_all(std::uint32_t index, const std::byte* buffer,
                                       std::uint32_t stride, const char* when) {
    const std::size_t bad = pattern_check(canary_of(index), 0, buffer, stride);
    if (bad == pattern_matches)
        return std::nullopt;
    return late(when, std::string("a buffer was written after ") + when, index, bad, buffer + bad,
                stride - bad);
}

std::optional<Finding> judge_arrived(std::uint64_t fill, std::size_t into, const std::byte* memory,
                                     std::int64_t res) {
    constexpr std::size_t page_bytes = 4096;
    constexpr std::size_t telling_bytes = 64;
    const std::size_t end = into + static_cast<std::size_t>(std::max<std::int64_t>(res, 0));
    for (std::size_t at = into; at < end;) {
        const std::size_t next = std::min(at / page_bytes * page_bytes + page_bytes, end);
        if (next - at >= telling_bytes &&
            pattern_check(fill, at, memory + at, next - at) == pattern_matches)
            return Finding{"data",
                           "a read reports bytes that did not come into its memory",
                           "data/not-arrived",
                           {"page " + std::to_string(at / page_bytes + 1)}};
        at = next;
    }
    return std::nullopt;
}

std::optional<Finding> judge_given_away(const std::vector<std::uint64_t>& before,
                                        const std::vector<std::uint64_t>& after) {
    for (std::size_t page = 0; page < before.size(); ++page)
        if (before[page] != after[page])
            return Finding{
                "data",
                "a page of a file lost the bytes that a read had put there",
                "data/lost-dirty",
                {"page " + std::to_string(page + 1) + " of " + std::to_string(before.size())}};
    return std::nullopt;
}

void fill_canary(const Slot& slot, std::uint32_t index, std::byte* buffer) {
    const std::uint64_t canary = canary_of(index);
    for (std::uint32_t s = 0; s < slot.segments; ++s)
        pattern_fill(canary, slot.segment[s].at, buffer + slot.segment[s].at,
                     slot.segment[s].length);
}

} // namespace at
