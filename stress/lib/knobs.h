// Knobs: every number a plan may set is declared once, here or beside a scenario, with name,
// scope, type, default, range, choices, unit and help.  The plan parser, the command line,
// `describe` and the documentation are all made from that one declaration.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace at {

struct PlanError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

enum class Scope { scenario, target };
// words: some of the choices, with `+` between them.
enum class Kind { integer, real, duration, size, choice, words };

struct Knob {
    const char* name;
    Scope scope;
    Kind kind;
    const char* fallback; // the default, as a plan would write it
    const char* min;      // empty: no bound
    const char* max;
    std::vector<const char*> choices;
    const char* unit;
    const char* help;
};

// What the target's module takes: docs/interfaces.md section 2.
const std::vector<Knob>& target_knobs();

// The knobs with the defaults that a scenario prefers, by name.
std::vector<Knob> with_fallbacks(std::vector<Knob> knobs,
                                 const std::map<std::string_view, const char*>& fallbacks);

// Values as text; a knob that was not set answers with its default.
class KnobValues {
public:
    KnobValues() = default;
    explicit KnobValues(const std::vector<Knob>* scenario_knobs);

    // Throws PlanError when no knob has this name or the value is out of its range.
    void set(std::string_view name, std::string_view value);
    bool given(std::string_view name) const;

    std::string text(std::string_view name) const;
    std::int64_t integer(std::string_view name) const; // bytes for sizes
    double real(std::string_view name) const;
    std::int64_t nanoseconds(std::string_view name) const;

    // name=value of every target knob that the plan sets, for finit_module().
    std::string module_parameters() const;

private:
    const Knob& find(std::string_view name) const;
    const std::vector<Knob>* scenario_knobs_ = nullptr;
    std::map<std::string, std::string, std::less<>> values_;
};

std::int64_t parse_integer(std::string_view text); // decimal or 0x
std::uint64_t parse_unsigned(std::string_view text);
double parse_real(std::string_view text);
std::int64_t parse_duration_ns(std::string_view text); // ns us ms s
std::int64_t parse_size(std::string_view text);        // K M G

// An empty text is one empty part.
std::vector<std::string_view> split(std::string_view text, char separator);

nlohmann::json describe(const Knob& knob);

} // namespace at
