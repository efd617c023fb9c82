// A token names one schedule: core, variant, bounds that shape the program, and the choices.
//
//     at1-m-<base64url>
//
// Names go in as hashes, choices as fiber and choice numbers in runs; nothing depends on the build
// or on the strategy that found the schedule.
#pragma once

#include "sched/exec.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace at::model {

struct Token {
    std::uint16_t core = 0; // name_hash
    std::uint16_t variant = 0;
    unsigned racers = 0;
    Limits limits;
    Choices choices;
};

std::uint16_t name_hash(std::string_view name);
std::string print_token(const Token& token);
// Nothing when the text is damaged.
std::optional<Token> parse_token(std::string_view text);

} // namespace at::model
