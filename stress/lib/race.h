#pragma once
#include "lib/scenario.h"
#include <map>
#include <string_view>
namespace at {
std::vector<Knob> common_knobs(const std::map<std::string_view, const char*>& defaults);
class Race {
public:
    void start_submitters() {}
    void start_cancellers() {}
    void start_reapers() {}
    void start_destroyers() {}
    void until_contended() {}
};
} // namespace at
