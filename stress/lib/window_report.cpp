#include "lib/window_report.h"

#include "lib/plan.h"

namespace at {

namespace {

using nlohmann::json;

std::uint32_t value(const std::atomic<std::uint32_t>& counter) {
    return counter.load(std::memory_order_relaxed);
}

template <typename Take> void for_each_pair(const WindowBook& book, Take take) {
    for (std::size_t racer = 0; racer < racers_count; ++racer)
        for (std::uint32_t stretch = 0; stretch < book.stretches; ++stretch)
            if (const HeatPair& pair = book.pair[racer][stretch]; value(pair.wanted))
                take(static_cast<Racer>(racer), book.stretch[stretch], pair);
}

json missed(const std::atomic<std::uint32_t> (&counters)[misses_count]) {
    json told = json::object();
    for (std::size_t miss = 0; miss < misses_count; ++miss)
        told[miss_name(static_cast<Miss>(miss))] = value(counters[miss]);
    return told;
}

bool is_covered(const WindowBook& book, const HeatPair& pair) {
    for (std::size_t bin = 0; bin < bins_count; ++bin)
        if ((book.hold_ns || static_cast<Bin>(bin) == Bin::free) &&
            value(pair.bin[bin].hits) < covering_hits)
            return false;
    return true;
}

} // namespace

json window_hits(const WindowBook& book) {
    json hits = json::object();
    for_each_pair(book, [&](Racer racer, Stretch stretch, const HeatPair& pair) {
        hits[window_name(racer, stretch)] = {
            {"tries", pair.tries()},          {"hits", pair.hits()},
            {"held", value(pair.held)},       {"hits_held", value(pair.hits_held)},
            {"expired", value(pair.expired)}, {"voids", value(pair.voids)},
        };
    });
    return hits;
}

json heat_map(const WindowBook& book) {
    json names = json::array();
    for (std::size_t bin = 0; bin < bins_count; ++bin)
        names.push_back(bin_name(static_cast<Bin>(bin)));
    json pairs = json::array();
    for_each_pair(book, [&](Racer racer, Stretch stretch, const HeatPair& pair) {
        json tries = json::array();
        json hits = json::array();
        for (const HeatBin& bin : pair.bin) {
            tries.push_back(value(bin.tries));
            hits.push_back(value(bin.hits));
        }
        pairs.push_back({{"racer", racer_name(racer)},
                         {"from", phase_names()[stretch.from]},
                         {"to", phase_names()[stretch.to]},
                         {"tries", tries},
                         {"hits", hits},
                         {"missed_held", missed(pair.missed_held)},
                         {"missed_free", missed(pair.missed_free)},
                         {"uncalled", value(pair.uncalled)},
                         {"covered", is_covered(book, pair)},
                         {"call_ns", value(pair.call_ns)},
                         {"stretch_ns", value(pair.stretch_ns)},
                         {"lead_ns", value(book.lengths.lead_ns[stretch.from])}});
    });
    return {{"bins", names},
            {"covering_hits", covering_hits},
            {"pairs", pairs},
            {"held_us", book.held_ns.load(std::memory_order_relaxed) / 1000},
            {"slept_us", book.slept_ns.load(std::memory_order_relaxed) / 1000},
            {"together", value(book.together)},
            {"untimed", value(book.untimed)}};
}

} // namespace at
