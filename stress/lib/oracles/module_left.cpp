#include "lib/oracles/module_left.h"

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "lib/system.h"

namespace at {

namespace {

constexpr char kthreadd[] = "2"; // parent of all kernel threads
constexpr char vmallocinfo_path[] = "/proc/vmallocinfo";
constexpr std::size_t most_bytes = 4 << 20;
constexpr const char* folders[] = {"/dev",
                                   "/sys/kernel/debug",
                                   "/sys/kernel/slab",
                                   "/sys/class/misc",
                                   "/sys/bus/platform/devices",
                                   "/sys/bus/platform/drivers",
                                   "/sys/bus/pci/drivers"};

bool begins_with(const std::string& name, const std::string& module) {
    return name.compare(0, module.size(), module) == 0;
}

std::set<std::string> names_of(const std::vector<ModuleRange>& gone) {
    std::set<std::string> names;
    for (const ModuleRange& range : gone)
        names.insert(range.name);
    return names;
}

std::set<std::string> paths_named(const std::string& module) {
    std::set<std::string> found;
    for (const char* folder : folders) {
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator(folder, error))
            if (begins_with(entry.path().filename(), module))
                found.insert(entry.path());
    }
    return found;
}

std::vector<std::string> task_stats() {
    std::vector<std::string> stats;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error))
        if (std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0])))
            stats.push_back(read_file(entry.path() / "stat").value_or(""));
    return stats;
}

Finding left(const std::string& module, const char* kind, const char* what,
             const std::string& evidence) {
    return {"leak",
            std::string(what) + " of module " + module + " is left when it is unloaded",
            "leak/module-left/" + module + "/" + kind,
            {evidence}};
}

} // namespace

std::string thread_of_module(const std::string& stat, const std::string& module) {
    const std::size_t open = stat.find('(');
    const std::size_t close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close < open)
        return "";
    std::istringstream rest(stat.substr(close + 1));
    std::string state, parent;
    rest >> state >> parent;
    const std::string name = stat.substr(open + 1, close - open - 1);
    // since 6.7 a rescuer is called kworker/R-NAME
    const std::string own = name.compare(0, 10, "kworker/R-") ? name : name.substr(10);
    return parent == kthreadd && begins_with(own, module) ? name : "";
}

std::vector<LeftMapping> left_mappings(const std::string& vmallocinfo, const std::string& before,
                                       const std::vector<ModuleRange>& gone) {
    std::vector<LeftMapping> found;
    std::istringstream lines(vmallocinfo);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string range, bytes, caller;
        if (!(words >> range >> bytes >> caller) || before.find(range) != std::string::npos)
            continue;
        if (const ModuleRange* owner = owner_of(caller, gone))
            found.push_back({owner->name, bytes + " bytes by " + named(caller, gone)});
    }
    return found;
}

BeforeModules read_before_modules(const std::vector<std::string>& modules) {
    BeforeModules before{{}, read_file(vmallocinfo_path, most_bytes).value_or("")};
    for (const std::string& module : modules)
        before.paths.merge(paths_named(module));
    return before;
}

std::vector<Finding> read_module_left(const std::vector<ModuleRange>& gone,
                                      const BeforeModules& before) {
    std::vector<Finding> findings;
    if (gone.empty())
        return findings;
    const std::set<std::string> modules = names_of(gone);
    for (const std::string& module : modules)
        for (const std::string& path : paths_named(module))
            if (!before.paths.count(path))
                findings.push_back(left(module, "name", "a name", path));
    for (const std::string& stat : task_stats())
        for (const std::string& module : modules)
            if (const std::string thread = thread_of_module(stat, module); !thread.empty())
                findings.push_back(left(module, "thread", "a thread", thread));
    const auto vmallocinfo = read_file(vmallocinfo_path, most_bytes).value_or("");
    for (const LeftMapping& mapping : left_mappings(vmallocinfo, before.vmallocinfo, gone))
        findings.push_back(left(mapping.module, "mapping", "memory of vmalloc", mapping.told));
    return findings;
}

} // namespace at
