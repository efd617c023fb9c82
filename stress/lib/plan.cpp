#include "lib/plan.h"

#include <algorithm>
#include <sstream>

namespace at {

namespace {

const std::vector<std::string> racers = {"submitter", "device", "canceller", "destroyer", "reaper"};

bool contains(const std::vector<std::string>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> words_of(std::string_view statement) {
    std::istringstream in{std::string(statement)};
    std::vector<std::string> words;
    for (std::string word; in >> word;)
        words.push_back(word);
    return words;
}

std::pair<std::string, std::string> key_value(const std::string& word) {
    const auto equals = word.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == word.size())
        throw PlanError("expected key=value, not '" + word + "'");
    return {word.substr(0, equals), word.substr(equals + 1)};
}

void add_key(KeyValues& keys, const std::string& word) {
    auto pair = key_value(word);
    for (const auto& [name, value] : keys)
        if (name == pair.first)
            throw PlanError("key '" + name + "' is given twice");
    keys.push_back(std::move(pair));
}

void check_phase(std::string_view phase) {
    if (!contains(phase_names(), phase))
        throw PlanError("no phase is called '" + std::string(phase) + "'");
}

void check_fault_key(const std::string& name, const std::string& value) {
    if (name == "p") {
        const double probability = parse_real(value);
        if (probability < 0 || probability > 1)
            throw PlanError("p=" + value + ": must lie in 0..1");
    } else if (name == "delay") {
        parse_duration_ns(value);
    } else if (name == "cookie") {
        parse_unsigned(value.starts_with("slot:") ? value.substr(5) : value);
    } else if (name == "nth" || name == "err") {
        parse_unsigned(value);
    } else if (name == "times" || name == "cpu") {
        parse_integer(value);
    } else {
        throw PlanError("no fault key is called '" + name + "'");
    }
}

Fault parse_fault(const std::vector<std::string>& words) {
    if (words.size() < 3)
        throw PlanError("expected: fault PHASE ACTION key=value…");
    Fault fault{words[1], words[2], {}};
    check_phase(fault.phase);
    if (!contains(action_names(), fault.action))
        throw PlanError("no action is called '" + fault.action + "'");
    if (!action_fits(fault.phase, fault.action))
        throw PlanError("action '" + fault.action + "' means nothing at phase '" + fault.phase +
                        "'");
    for (std::size_t i = 3; i < words.size(); ++i)
        add_key(fault.keys, words[i]);
    for (const auto& [name, value] : fault.keys)
        check_fault_key(name, value);
    return fault;
}

Window parse_window(const std::vector<std::string>& words) {
    if (words.size() < 4 || words.size() > 5 || words[2] != "in")
        throw PlanError("expected: window RACER in PHASE..PHASE [hold=DURATION]");
    const auto dots = words[3].find("..");
    if (dots == std::string::npos)
        throw PlanError("expected PHASE..PHASE, not '" + words[3] + "'");
    Window window{words[1], words[3].substr(0, dots), words[3].substr(dots + 2), ""};
    if (!contains(racers, window.racer))
        throw PlanError("no racer is called '" + window.racer + "'");
    check_phase(window.from);
    check_phase(window.to);
    if (words.size() == 5) {
        auto [name, value] = key_value(words[4]);
        if (name != "hold")
            throw PlanError("no window key is called '" + name + "'");
        parse_duration_ns(value);
        window.hold = value;
    }
    return window;
}

void parse_statement(Plan& plan, bool& seeded, const std::vector<std::string>& words) {
    const std::string& keyword = words[0];
    if (keyword == "scenario") {
        if (!plan.scenario.empty())
            throw PlanError("a plan has one scenario");
        if (words.size() < 2)
            throw PlanError("expected: scenario NAME key=value…");
        plan.scenario = words[1];
        for (std::size_t i = 2; i < words.size(); ++i)
            add_key(plan.keys, words[i]);
    } else if (keyword == "fault") {
        plan.faults.push_back(parse_fault(words));
    } else if (keyword == "window") {
        plan.windows.push_back(parse_window(words));
    } else if (keyword == "seed") {
        if (seeded)
            throw PlanError("a plan has one seed");
        if (words.size() != 2)
            throw PlanError("expected: seed N");
        plan.seed = parse_unsigned(words[1]);
        seeded = true;
    } else {
        throw PlanError("no statement begins with '" + keyword + "'");
    }
}

void print_keys(std::string& out, const KeyValues& keys) {
    for (const auto& [name, value] : keys)
        out += " " + name + "=" + value;
}

} // namespace

std::optional<std::string> Fault::key(std::string_view name) const {
    for (const auto& [key_name, value] : keys)
        if (key_name == name)
            return value;
    return std::nullopt;
}

const std::vector<std::string>& phase_names() {
    static const std::vector<std::string> names = {"submit", "pin",   "map",      "queue",
                                                   "start",  "irq",   "complete", "cancel",
                                                   "unmap",  "unpin", "free"};
    return names;
}

const std::vector<std::string>& action_names() {
    static const std::vector<std::string> names = {
        "delay", "drop", "dup",   "reorder", "corrupt", "short",    "fail",
        "stall", "late", "steer", "reset",   "remove",  "spurious", "nomem"};
    return names;
}

bool action_fits(std::string_view phase, std::string_view action) {
    static const std::vector<std::string> at_driver = {"fail", "delay", "nomem"};
    static const std::vector<std::string> at_start = {
        "drop", "dup", "reorder", "corrupt", "short", "stall", "late", "delay", "reset", "remove"};
    static const std::vector<std::string> at_irq = {"delay",    "drop",  "dup",   "steer",
                                                    "spurious", "reset", "remove"};
    if (phase == "submit" || phase == "pin" || phase == "map" || phase == "queue")
        return contains(at_driver, action);
    if (phase == "start")
        return contains(at_start, action);
    if (phase == "irq")
        return contains(at_irq, action);
    return action == "delay";
}

Plan parse_plan(std::string_view text) {
    Plan plan;
    bool seeded = false;
    std::size_t number = 0;
    while (!text.empty()) {
        const auto end = text.find_first_of(";\n");
        std::string_view statement = text.substr(0, end);
        // A comment runs to the end of its line, over any ';' in it.
        if (const auto hash = statement.find('#'); hash != statement.npos) {
            const auto line_end = text.find('\n');
            statement = statement.substr(0, hash);
            text.remove_prefix(line_end == text.npos ? text.size() : line_end + 1);
        } else {
            text.remove_prefix(end == text.npos ? text.size() : end + 1);
        }
        const auto words = words_of(statement);
        if (words.empty())
            continue;
        ++number;
        try {
            parse_statement(plan, seeded, words);
        } catch (const PlanError& error) {
            throw PlanError("statement " + std::to_string(number) + " (" + words[0] +
                            "): " + error.what());
        }
    }
    if (plan.scenario.empty())
        throw PlanError("the plan names no scenario");
    return plan;
}

std::string print_plan(const Plan& plan) {
    std::string out = "scenario " + plan.scenario;
    print_keys(out, plan.keys);
    out += "\n";
    for (const Fault& fault : plan.faults) {
        out += "fault " + fault.phase + " " + fault.action;
        print_keys(out, fault.keys);
        out += "\n";
    }
    for (const Window& window : plan.windows) {
        out += "window " + window.racer + " in " + window.from + ".." + window.to;
        if (!window.hold.empty())
            out += " hold=" + window.hold;
        out += "\n";
    }
    return out + "seed " + std::to_string(plan.seed) + "\n";
}

} // namespace at
