/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device on PCI */
#include "qemu/osdep.h"
#include "qemu/module.h"
#include "virtio-balloon-bmap-compat.h"
#include "hw/virtio/virtio-balloon-bmap.h"
#include "hw/virtio/virtio-pci.h"

#define TYPE_VIRTIO_BALLOON_BMAP_PCI "virtio-balloon-bmap-pci-base"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOBalloonBmapPCI, VIRTIO_BALLOON_BMAP_PCI)

struct VirtIOBalloonBmapPCI {
    VirtIOPCIProxy parent_obj;
    VirtIOBalloonBmap vdev;
};

/* Properties that are no options; what is an option is aliased already. */
static const char *const aliases[] = {
    "guest-stats", "guest-stats-polling-interval", "drop-cache",
    "dropped-pages", "faults",
};

static void vbmap_pci_realize(VirtIOPCIProxy *proxy, Error **errp)
{
    VirtIOBalloonBmapPCI *dev = VIRTIO_BALLOON_BMAP_PCI(proxy);

    proxy->class_code = PCI_CLASS_OTHERS;
    qdev_realize(DEVICE(&dev->vdev), BUS(&proxy->bus), errp);
}

static void vbmap_pci_class_init(ObjectClass *klass, ClassInitData *data)
{
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);

    VIRTIO_PCI_CLASS(klass)->realize = vbmap_pci_realize;
    set_bit(DEVICE_CATEGORY_MISC, DEVICE_CLASS(klass)->categories);
    pc->vendor_id = PCI_VENDOR_ID_REDHAT_QUMRANET;
    pc->device_id = PCI_DEVICE_ID_VIRTIO_BALLOON;
    pc->revision = VIRTIO_PCI_ABI_VERSION;
    pc->class_id = PCI_CLASS_OTHERS;
}

static void vbmap_pci_instance_init(Object *obj)
{
    VirtIOBalloonBmapPCI *dev = VIRTIO_BALLOON_BMAP_PCI(obj);
    size_t i;

    virtio_instance_init_common(obj, &dev->vdev, sizeof(dev->vdev),
                                TYPE_VIRTIO_BALLOON_BMAP);
    for (i = 0; i < ARRAY_SIZE(aliases); i++) {
        object_property_add_alias(obj, aliases[i], OBJECT(&dev->vdev),
                                  aliases[i]);
    }
}

static const VirtioPCIDeviceTypeInfo vbmap_pci_info = {
    .base_name = TYPE_VIRTIO_BALLOON_BMAP_PCI,
    .generic_name = "virtio-balloon-bmap-pci",
    .transitional_name = "virtio-balloon-bmap-pci-transitional",
    .non_transitional_name = "virtio-balloon-bmap-pci-non-transitional",
    .instance_size = sizeof(VirtIOBalloonBmapPCI),
    .instance_init = vbmap_pci_instance_init,
    .class_init = vbmap_pci_class_init,
};

static void vbmap_pci_register(void)
{
    virtio_pci_types_register(&vbmap_pci_info);
}

type_init(vbmap_pci_register)
