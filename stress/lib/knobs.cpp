#include "lib/knobs.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <nlohmann/json.hpp>

namespace at {

std::vector<Knob> with_fallbacks(std::vector<Knob> knobs,
                                 const std::map<std::string_view, const char*>& fallbacks) {
    for (const auto& [name, value] : fallbacks)
        for (Knob& knob : knobs)
            if (name == knob.name)
                knob.fallback = value;
    return knobs;
}

const std::vector<Knob>& target_knobs() {
    // clang-format off
    static const std::vector<Knob> knobs = {
        {"engine", Scope::target, Kind::choice, "soft", "", "", {"soft", "edu"}, "", "who moves the bytes: a timer, or PCI devices of QEMU"},
        {"devices", Scope::target, Kind::integer, "1", "1", "8", {}, "", "device nodes"},
        {"mem_mb", Scope::target, Kind::integer, "16", "1", "256", {}, "MiB", "soft engine: memory of each device"},
        {"ring", Scope::target, Kind::integer, "256", "2", "4096", {}, "descriptors", "descriptors in the ring, a power of two"},
        {"cancel", Scope::target, Kind::choice, "callback", "", "", {"callback", "flush", "flag", "none"}, "", "how a request in flight is cancelled"},
        {"timeout_ms", Scope::target, Kind::integer, "200", "1", "60000", {}, "ms", "per request; then poll, stop or reset"},
        {"stop_ms", Scope::target, Kind::integer, "50", "1", "1000", {}, "ms", "how long a stop may go unacknowledged before a reset"},
        {"latency_ns", Scope::target, Kind::integer, "20000", "0", "1000000000", {}, "ns", "soft engine: from doorbell to first descriptor"},
        {"burst", Scope::target, Kind::integer, "4", "1", "256", {}, "descriptors", "soft engine: descriptors for each tick of its timer"},
        {"ack_ns", Scope::target, Kind::integer, "3000", "0", "1000000000", {}, "ns", "soft engine: from a stop or reset to its acknowledgement"},
        {"irq_gap_ns", Scope::target, Kind::integer, "0", "0", "1000000000", {}, "ns", "soft engine: least time between two interrupts"},
        {"look_ns", Scope::target, Kind::integer, "0", "0", "1000000000", {}, "ns", "from one look at what the driver's lock guards to the next, 10000 and more; 0: none"},
        {"widen", Scope::target, Kind::integer, "1", "0", "1", {}, "", "where there are looks: the driver brings about what a window of two statements hides"},
        {"engine_cpu", Scope::target, Kind::integer, "-1", "-1", "4095", {}, "", "CPU whose timer runs the soft engine, -1: any"},
        {"poll_wake", Scope::target, Kind::integer, "0", "0", "1", {}, "", "wake the queues from inside ->poll"},
    };
    // clang-format on
    return knobs;
}

namespace {

template <typename T> T parse_number(std::string_view text, const char* what) {
    T value{};
    int base = 10;
    std::string_view digits = text;
    if (digits.starts_with("0x")) {
        base = 16;
        digits.remove_prefix(2);
    }
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size())
        throw PlanError("not " + std::string(what) + ": '" + std::string(text) + "'");
    return value;
}

std::int64_t scaled(std::string_view digits, std::int64_t unit, std::string_view text) {
    const double value = parse_real(digits) * static_cast<double>(unit);
    if (!(value >= 0 && value < 9.2e18))
        throw PlanError("out of range: '" + std::string(text) + "'");
    return std::llround(value);
}

double numeric(const Knob& knob, std::string_view text) {
    switch (knob.kind) {
    case Kind::integer:
        return static_cast<double>(parse_integer(text));
    case Kind::real:
        return parse_real(text);
    case Kind::duration:
        return static_cast<double>(parse_duration_ns(text));
    case Kind::size:
        return static_cast<double>(parse_size(text));
    case Kind::choice:
    case Kind::words:
        break;
    }
    return 0;
}

void check(const Knob& knob, std::string_view value) {
    const std::string shown = std::string(knob.name) + "=" + std::string(value);
    const auto chosen = [&](std::string_view word) {
        return std::find(knob.choices.begin(), knob.choices.end(), word) != knob.choices.end();
    };
    const auto allowed = [&] {
        std::string words;
        for (const char* choice : knob.choices)
            words += std::string(words.empty() ? "" : " ") + choice;
        return words;
    };
    if (knob.kind == Kind::choice) {
        if (chosen(value))
            return;
        throw PlanError(shown + ": choose one of " + allowed());
    }
    if (knob.kind == Kind::words) {
        for (const std::string_view word : split(value, '+'))
            if (!chosen(word))
                throw PlanError(shown + ": choose of " + allowed() + ", with + between them");
        return;
    }
    const double number = numeric(knob, value);
    if ((*knob.min && number < numeric(knob, knob.min)) ||
        (*knob.max && number > numeric(knob, knob.max)))
        throw PlanError(shown + ": must lie in " + knob.min + ".." + knob.max);
    // The driver masks its ring index (docs/interfaces.md section 2).
    if (std::string_view(knob.name) == "ring") {
        const std::int64_t ring = parse_integer(value);
        if (ring & (ring - 1))
            throw PlanError(shown + ": must be a power of two");
    }
}

} // namespace

std::int64_t parse_integer(std::string_view text) {
    return parse_number<std::int64_t>(text, "an integer");
}

std::uint64_t parse_unsigned(std::string_view text) {
    return parse_number<std::uint64_t>(text, "an unsigned integer");
}

double parse_real(std::string_view text) {
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size() ||
        !std::isfinite(value))
        throw PlanError("not a number: '" + std::string(text) + "'");
    return value;
}

std::int64_t parse_duration_ns(std::string_view text) {
    const auto unit_at = text.find_first_not_of("0123456789.");
    const std::string_view unit = unit_at == text.npos ? "" : text.substr(unit_at);
    const std::string_view digits = text.substr(0, unit_at);
    if (unit == "ns")
        return scaled(digits, 1, text);
    if (unit == "us")
        return scaled(digits, 1000, text);
    if (unit == "ms")
        return scaled(digits, 1000000, text);
    if (unit == "s")
        return scaled(digits, 1000000000, text);
    throw PlanError("not a duration (ns, us, ms or s): '" + std::string(text) + "'");
}

std::int64_t parse_size(std::string_view text) {
    if (text.empty())
        throw PlanError("empty size");
    switch (text.back()) {
    case 'K':
        return scaled(text.substr(0, text.size() - 1), 1 << 10, text);
    case 'M':
        return scaled(text.substr(0, text.size() - 1), 1 << 20, text);
    case 'G':
        return scaled(text.substr(0, text.size() - 1), 1 << 30, text);
    default:
        return parse_integer(text);
    }
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    std::size_t from = 0;
    for (std::size_t to; (to = text.find(separator, from)) != text.npos; from = to + 1)
        parts.push_back(text.substr(from, to - from));
    parts.push_back(text.substr(from));
    return parts;
}

KnobValues::KnobValues(const std::vector<Knob>* scenario_knobs) : scenario_knobs_(scenario_knobs) {}

const Knob& KnobValues::find(std::string_view name) const {
    if (scenario_knobs_)
        for (const Knob& knob : *scenario_knobs_)
            if (name == knob.name)
                return knob;
    for (const Knob& knob : target_knobs())
        if (name == knob.name)
            return knob;
    throw PlanError("no knob is called '" + std::string(name) + "'");
}

void KnobValues::set(std::string_view name, std::string_view value) {
    check(find(name), value);
    values_[std::string(name)] = std::string(value);
}

bool KnobValues::given(std::string_view name) const {
    return values_.find(name) != values_.end();
}

std::string KnobValues::text(std::string_view name) const {
    const auto found = values_.find(name);
    return found != values_.end() ? found->second : find(name).fallback;
}

std::int64_t KnobValues::integer(std::string_view name) const {
    const std::string value = text(name);
    return find(name).kind == Kind::size ? parse_size(value) : parse_integer(value);
}

double KnobValues::real(std::string_view name) const {
    return parse_real(text(name));
}

std::int64_t KnobValues::nanoseconds(std::string_view name) const {
    return parse_duration_ns(text(name));
}

std::string KnobValues::module_parameters() const {
    std::string parameters;
    for (const auto& [name, value] : values_)
        if (find(name).scope == Scope::target)
            parameters += (parameters.empty() ? "" : " ") + name + "=" + value;
    return parameters;
}

nlohmann::json describe(const Knob& knob) {
    static const char* const kinds[] = {"int", "real", "duration", "size", "choice", "words"};
    auto value = [&](const char* text) -> nlohmann::json {
        if (!*text)
            return nullptr;
        if (knob.kind == Kind::integer)
            return parse_integer(text);
        if (knob.kind == Kind::real)
            return parse_real(text);
        return text;
    };
    return {{"name", knob.name},
            {"scope", knob.scope == Scope::target ? "target" : "scenario"},
            {"type", kinds[static_cast<int>(knob.kind)]},
            {"default", value(knob.fallback)},
            {"min", value(knob.min)},
            {"max", value(knob.max)},
            {"choices", knob.choices},
            {"unit", knob.unit},
            {"help", knob.help}};
}

} // namespace at
