#include "lib/core.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <list>

namespace at::model {

namespace {
std::vector<const Core*>& registered() {
    static std::vector<const Core*> all;
    return all;
}
} // namespace

const std::vector<const Core*>& cores() {
    return registered();
}

const Core* find_core(std::string_view name) {
    for (const Core* core : registered())
        if (core->name == name)
            return core;
    return nullptr;
}

Register::Register(Core core) {
    static std::list<Core> kept;
    const Core* const one = &kept.emplace_back(std::move(core));
    auto& all = registered();
    all.insert(std::upper_bound(all.begin(), all.end(), one,
                                [](const Core* a, const Core* b) { return a->name < b->name; }),
               one);
}

void outcome(const char* format, ...) {
    std::array<char, 512> text;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text.data(), text.size(), format, arguments);
    va_end(arguments);
    exec->set_outcome(text.data());
}

void require(bool holds, const char* oracle, const char* cause, const char* title, Location where) {
    if (!holds)
        exec->fail(oracle, title, cause, where);
}

} // namespace at::model
