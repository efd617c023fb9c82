#include "lib/oracles/module_left.h"

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "lib/system.h"

namespace at {

namespace {

constexpr char kthreadd[] = "2"; // parent of all kernel threads
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

KernelPlaces read_kernel_places(const KernelPlaces* before) {
    KernelPlaces places;
    std::error_code error;
    for (const char* folder : folders)
        for (const auto& entry : std::filesystem::directory_iterator(folder, error))
            places.paths.insert(entry.path());
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
        const std::string pid = entry.path().filename();
        if (!std::isdigit(static_cast<unsigned char>(pid[0])))
            continue;
        places.tasks.insert(pid);
        if (before && !before->tasks.count(pid))
            places.stats.push_back(read_file(entry.path() / "stat").value_or(""));
    }
    places.vmallocinfo = read_file("/proc/vmallocinfo", most_bytes).value_or("");
    // ENODATA where it cannot be counted
    if (const auto counted = read_file("/sys/kernel/debug/fail_injector/dma-coherent"))
        places.coherent = std::strtoll(counted->c_str(), nullptr, 10);
    return places;
}

std::vector<Finding> judge_module_left(const KernelPlaces& now, const KernelPlaces& before,
                                       const std::vector<ModuleRange>& gone) {
    std::vector<Finding> findings;
    for (const std::string& module : names_of(gone)) {
        for (const std::string& path : now.paths)
            if (begins_with(std::filesystem::path(path).filename(), module) &&
                !before.paths.count(path))
                findings.push_back(left(module, "name", "a name", path));
        for (const std::string& stat : now.stats)
            if (const std::string thread = thread_of_module(stat, module); !thread.empty())
                findings.push_back(left(module, "thread", "a thread", thread));
    }
    for (const LeftMapping& mapping : left_mappings(now.vmallocinfo, before.vmallocinfo, gone))
        findings.push_back(left(mapping.module, "mapping", "memory of vmalloc", mapping.told));
    if (!gone.empty() && now.coherent > before.coherent)
        findings.push_back(left(gone.back().name, "coherent", "coherent DMA memory",
                                std::to_string(now.coherent - before.coherent) + " buffers"));
    return findings;
}

} // namespace at
