#include "lib/disturb/disturb.h"

#include <algorithm>

#include "lib/race.h"

namespace at {

namespace {

constexpr char drawn_word[] = "drawn";
constexpr std::uint32_t least_drawn = 2;
constexpr std::uint32_t most_drawn = 3;
constexpr std::uint32_t kill_one_in = 4;

// clang-format off
constexpr Disturbance all[] = {
    //                shared own weight
    {"close",         true,  true,  4, [](Race& race) { start_closers(race, 1); }, nullptr},
    {"fork",          false, true,  4, [](Race& race) { start_forkers(race, 1); }, nullptr},
    {"remap",         false, true,  4, [](Race& race) { start_remappers(race, 2); }, nullptr},
    {"rings",         true,  true,  2, [](Race& race) { start_ring_movers(race, 1); }, nullptr},
    {"signals",       true,  true,  4, [](Race& race) { start_signals(race, 1); }, nullptr},
    {"reclaim",       true,  true,  2, [](Race& race) { start_reclaim(race); }, nullptr},
    {"cpus",          true,  true,  0, [](Race& race) { start_cpu_switch(race); }, nullptr},
    {"storm",         true,  true,  1, [](Race& race) { start_storm(race, 2); }, nullptr},
    {"poll",          true,  true,  2, [](Race& race) { start_pollers(race, 2); }, nullptr},
    {"open",          true,  true,  3, [](Race& race) { start_openers(race, 2); }, nullptr},
    {"writeback",     true,  false, 6, [](Race& race) { start_write_back(race, 2); },
     [](Race& race, std::string& why) { return race.use_written_back_buffers(why); }},
};
// clang-format on

bool fits(const Disturbance& one, Buffers buffers) {
    return buffers == Buffers::own ? one.own : one.shared;
}

const Disturbance& named(std::string_view name) {
    std::string known;
    for (const Disturbance& one : all) {
        if (name == one.name)
            return one;
        known += std::string(known.empty() ? "" : " ") + one.name;
    }
    throw PlanError("disturb=" + std::string(name) + ": nothing is called so; there is: " + known);
}

// By weight, among those that fit and are not there yet; nullptr: none is left.
const Disturbance* draw_one(const Drawn& drawn, bool only_of_these_buffers, Random& random) {
    const auto weight = [&](const Disturbance& one) {
        const bool there = std::count(drawn.disturbances.begin(), drawn.disturbances.end(), &one);
        const bool everywhere = one.shared && one.own;
        return there || !fits(one, drawn.buffers) || (only_of_these_buffers && everywhere)
                   ? 0
                   : one.weight;
    };
    std::uint32_t total = 0;
    for (const Disturbance& one : all)
        total += weight(one);
    std::uint32_t at = total ? random.below(total) : 0;
    for (const Disturbance& one : all) {
        if (at < weight(one))
            return &one;
        at -= weight(one);
    }
    return nullptr;
}

Drawn chosen_by_name(std::string_view word) {
    Drawn drawn;
    for (const std::string_view name : split(word, '+')) {
        const Disturbance& one = named(name);
        if (!std::count(drawn.disturbances.begin(), drawn.disturbances.end(), &one))
            drawn.disturbances.push_back(&one);
    }
    for (const Disturbance* one : drawn.disturbances)
        if (!one->shared)
            drawn.buffers = Buffers::own;
    for (const Disturbance* one : drawn.disturbances)
        if (!fits(*one, drawn.buffers))
            throw PlanError("disturb=" + std::string(word) + ": " + one->name +
                            " does not go with private buffers, which another of these needs");
    return drawn;
}

} // namespace

Knob disturb_knob() {
    std::vector<const char*> words{drawn_word};
    for (const Disturbance& one : all)
        words.push_back(one.name);
    return {"disturb",
            Scope::scenario,
            Kind::words,
            drawn_word,
            "",
            "",
            words,
            "",
            "what disturbs the race: drawn from the seed, or some by name, as in close+signals"};
}

std::span<const Disturbance> disturbances() {
    return all;
}

const char* buffers_name(Buffers buffers) {
    return buffers == Buffers::own ? "own" : "shared";
}

std::string Drawn::text() const {
    std::string text;
    for (const Disturbance* one : disturbances)
        text += (text.empty() ? "" : "+") + std::string(one->name);
    return text + ", " + buffers_name(buffers) + " buffers" + (killed ? ", killed" : "");
}

std::string prepared(Drawn& drawn, Race& race) {
    std::string left_out;
    std::erase_if(drawn.disturbances, [&](const Disturbance* one) {
        std::string why;
        if (!one->prepare || one->prepare(race, why))
            return false;
        left_out += std::string("; without ") + one->name + " (" + why + ")";
        return true;
    });
    return drawn.text() + left_out;
}

Drawn draw_disturbances(std::string_view word, Random& random) {
    Drawn drawn;
    if (word == drawn_word) {
        drawn.buffers = random.below(2) ? Buffers::own : Buffers::shared;
        const std::uint32_t wanted = least_drawn + random.below(most_drawn - least_drawn + 1);
        // First what goes with these buffers alone: nothing else would need private ones.
        if (drawn.buffers == Buffers::own || random.below(2))
            drawn.disturbances.push_back(draw_one(drawn, true, random));
        while (drawn.disturbances.size() < wanted)
            drawn.disturbances.push_back(draw_one(drawn, false, random));
    } else {
        drawn = chosen_by_name(word);
    }
    // A fork must have said that children look before anybody takes access rights.
    std::sort(drawn.disturbances.begin(), drawn.disturbances.end());
    drawn.killed = random.below(kill_one_in) == 0;
    return drawn;
}

} // namespace at
