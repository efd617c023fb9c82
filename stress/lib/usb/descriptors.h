// Descriptors of the gadget: one vendor interface with bulk endpoints, as both file systems take
// it.
#pragma once

#include <cstdint>
#include <string>

#include <endian.h>
#include <linux/usb/ch9.h>
#include <linux/usb/functionfs.h> // usb_endpoint_descriptor_no_audio

#include "lib/usb/gadget.h"

namespace at {

class DescriptorBytes {
public:
    template <typename T> void add(const T& value) {
        bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    void add(const std::string& text) { bytes_.append(text.c_str(), text.size() + 1); }
    void add(const DescriptorBytes& others) { bytes_ += others.bytes_; }
    const std::string& text() const { return bytes_; }

private:
    std::string bytes_;
};

inline usb_endpoint_descriptor_no_audio endpoint_descriptor(std::uint8_t address,
                                                            std::uint16_t packet) {
    usb_endpoint_descriptor_no_audio endpoint{};
    endpoint.bLength = sizeof endpoint;
    endpoint.bDescriptorType = USB_DT_ENDPOINT;
    endpoint.bEndpointAddress = address;
    endpoint.bmAttributes = USB_ENDPOINT_XFER_BULK;
    endpoint.wMaxPacketSize = htole16(packet);
    return endpoint;
}

inline usb_interface_descriptor interface_descriptor(std::uint32_t endpoints, std::uint8_t name) {
    usb_interface_descriptor interface {};
    interface.bLength = sizeof interface;
    interface.bDescriptorType = USB_DT_INTERFACE;
    interface.bNumEndpoints = static_cast<std::uint8_t>(endpoints);
    interface.bInterfaceClass = USB_CLASS_VENDOR_SPEC;
    interface.iInterface = name;
    return interface;
}

} // namespace at
