package statusicon

import (
	"image"
	"image/color"
)

// appPicture is the program's icon on macOS' grid of 1024: a rounded square of 824 with its shadow's margin, in it a
// closed lock whose body is a terminal at its prompt.
var appPicture = []layer{
	{solid(color.NRGBA{0, 0, 0, 40}), []outline{box(100, 112, 924, 936, 186)}},
	{
		fade(100, color.NRGBA{0x2b, 0x3a, 0x55, 0xff}, 924, color.NRGBA{0x0e, 0x16, 0x26, 0xff}),
		[]outline{box(100, 100, 924, 924, 186)},
	},
	{
		fade(100, color.NRGBA{0xff, 0xff, 0xff, 0x50}, 500, color.NRGBA{0xff, 0xff, 0xff, 0x08}),
		[]outline{box(100, 100, 924, 924, 186), hole(106, 106, 918, 918, 180)},
	},
	{
		fade(190, color.NRGBA{0xe8, 0xee, 0xf5, 0xff}, 480, color.NRGBA{0x9f, 0xae, 0xc2, 0xff}),
		[]outline{shackle(512, 366, 140, 72, 500, 500)},
	},
	{solid(color.NRGBA{0, 0, 0, 60}), []outline{box(252, 462, 772, 806, 64)}},
	{
		fade(450, color.NRGBA{0x35, 0xd0, 0x72, 0xff}, 794, color.NRGBA{0x12, 0x8f, 0x44, 0xff}),
		[]outline{box(252, 450, 772, 794, 64)},
	},
	{
		fade(488, color.NRGBA{0x0b, 0x14, 0x20, 0xff}, 756, color.NRGBA{0x12, 0x20, 0x30, 0xff}),
		[]outline{box(290, 488, 734, 756, 34)},
	},
	{
		solid(color.NRGBA{0x4a, 0xe3, 0x8a, 0xff}),
		[]outline{blob(10, 358, 545, 398, 545, 478, 622, 398, 699, 358, 699, 434, 622)},
	},
	{solid(color.NRGBA{0xf2, 0xf6, 0xfa, 0xff}), []outline{box(512, 664, 650, 702, 12)}},
}

// AppIcon returns the program's icon, a square of sizePx pixels with transparent corners.
func AppIcon(sizePx int) image.Image { return render(1024, sizePx, appPicture) }
