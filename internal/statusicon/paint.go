package statusicon

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/vector"
)

// A picture is data: layers painted one over the other, each a paint and the outline it fills. Coordinates are in
// units of a grid (16 for the status icon, so that one unit is one pixel at the smallest size), y down.

type layer struct {
	paint paint
	path  []outline
}

// paint gives the colour at a point of the grid. nil erases what is below.
type paint func(x, y float64) color.NRGBA

// outline draws one closed contour. Contours of one layer run clockwise to add and counterclockwise to cut out.
type outline func(p pen)

// solid is one colour everywhere.
func solid(c color.NRGBA) paint { return func(_, _ float64) color.NRGBA { return c } }

// fade goes from one colour at y0 to another at y1.
func fade(y0 float64, from color.NRGBA, y1 float64, to color.NRGBA) paint {
	return func(_, y float64) color.NRGBA {
		t := math.Min(1, math.Max(0, (y-y0)/(y1-y0)))
		mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + t*(float64(b)-float64(a)))) }
		return color.NRGBA{mix(from.R, to.R), mix(from.G, to.G), mix(from.B, to.B), mix(from.A, to.A)}
	}
}

// render paints layers, drawn on a grid of the given size, as a square of sizePx pixels, anti-aliased.
func render(grid float64, sizePx int, layers []layer) *image.NRGBA {
	img := image.NewRGBA(image.Rect(0, 0, sizePx, sizePx))
	scale := float64(sizePx) / grid
	for _, l := range layers {
		r := vector.NewRasterizer(sizePx, sizePx)
		for _, o := range l.path {
			o(pen{r: r, scale: scale})
			r.ClosePath()
		}
		mask := image.NewAlpha(img.Bounds())
		r.DrawOp = draw.Src
		r.Draw(mask, mask.Bounds(), image.Opaque, image.Point{})
		if l.paint == nil {
			erase(img, mask)
			continue
		}
		draw.DrawMask(img, img.Bounds(), painted{l.paint, scale, sizePx}, image.Point{}, mask, image.Point{}, draw.Over)
	}
	out := image.NewNRGBA(img.Bounds())
	draw.Draw(out, out.Bounds(), img, image.Point{}, draw.Src)
	return out
}

func erase(img *image.RGBA, mask *image.Alpha) {
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			keep := 255 - uint32(mask.AlphaAt(x, y).A)
			px := img.Pix[img.PixOffset(x, y):][:4]
			for i, v := range px {
				px[i] = uint8((uint32(v)*keep + 127) / 255)
			}
		}
	}
}

// painted is a paint as an image, sampled at the middle of each pixel.
type painted struct {
	paint  paint
	scale  float64
	sizePx int
}

func (p painted) ColorModel() color.Model { return color.NRGBAModel }
func (p painted) Bounds() image.Rectangle { return image.Rect(0, 0, p.sizePx, p.sizePx) }
func (p painted) At(x, y int) color.Color {
	return p.paint((float64(x)+0.5)/p.scale, (float64(y)+0.5)/p.scale)
}

// pen draws on the grid.
type pen struct {
	r     *vector.Rasterizer
	scale float64
}

func (p pen) at(x, y float64) (float32, float32) { return float32(x * p.scale), float32(y * p.scale) }

func (p pen) move(x, y float64) { p.r.MoveTo(p.at(x, y)) }
func (p pen) line(x, y float64) { p.r.LineTo(p.at(x, y)) }
func (p pen) cube(x1, y1, x2, y2, x3, y3 float64) {
	ax, ay := p.at(x1, y1)
	bx, by := p.at(x2, y2)
	cx, cy := p.at(x3, y3)
	p.r.CubeTo(ax, ay, bx, by, cx, cy)
}

// arc draws a circle's arc of any angle, in radians clockwise from the right, from a0 to a1; the pen is moved or
// drawn to its begin.
func (p pen) arc(cx, cy, radius, a0, a1 float64, begin func(x, y float64)) {
	begin(cx+radius*math.Cos(a0), cy+radius*math.Sin(a0))
	n := int(math.Ceil(math.Abs(a1-a0) / (math.Pi / 2)))
	step := (a1 - a0) / float64(n)
	k := 4.0 / 3 * math.Tan(step/4)
	for i := range n {
		s, e := a0+float64(i)*step, a0+float64(i+1)*step
		p.cube(cx+radius*(math.Cos(s)-k*math.Sin(s)), cy+radius*(math.Sin(s)+k*math.Cos(s)),
			cx+radius*(math.Cos(e)+k*math.Sin(e)), cy+radius*(math.Sin(e)-k*math.Cos(e)),
			cx+radius*math.Cos(e), cy+radius*math.Sin(e))
	}
}

// box is a rectangle with rounded corners.
func box(x0, y0, x1, y1, radius float64) outline { return blob(radius, x0, y0, x1, y0, x1, y1, x0, y1) }

// hole is a box cut out of the layer.
func hole(x0, y0, x1, y1, radius float64) outline {
	return blob(radius, x0, y0, x0, y1, x1, y1, x1, y0)
}

func disc(cx, cy, radius float64) outline {
	return func(p pen) { p.arc(cx, cy, radius, 0, 2*math.Pi, p.move) }
}

// blob is a polygon whose corners are rounded with radius.
func blob(radius float64, xy ...float64) outline {
	n := len(xy) / 2
	at := func(i int) (float64, float64) { i = (i + n) % n; return xy[2*i], xy[2*i+1] }
	return func(p pen) {
		for i := range n {
			px, py := at(i - 1)
			x, y := at(i)
			nx, ny := at(i + 1)
			inX, inY, inLen := unit(x-px, y-py)
			outX, outY, outLen := unit(nx-x, ny-y)
			// The tangent points of a circle in a corner of angle a lie radius/tan(a/2) from it.
			half := (math.Pi - math.Acos(math.Max(-1, math.Min(1, inX*outX+inY*outY)))) / 2
			d := math.Min(radius/math.Tan(half), math.Min(inLen, outLen)/2)
			ax, ay, bx, by := x-inX*d, y-inY*d, x+outX*d, y+outY*d
			if i == 0 {
				p.move(ax, ay)
			} else {
				p.line(ax, ay)
			}
			k := 4.0 / 3 * math.Tan((math.Pi/2-half)/2) * math.Tan(half) // of d, from the tangent point to the corner
			p.cube(ax+inX*d*k, ay+inY*d*k, bx-outX*d*k, by-outY*d*k, bx, by)
		}
	}
}

func unit(x, y float64) (ux, uy, length float64) {
	length = math.Hypot(x, y)
	return x / length, y / length, length
}

// shackle is the bow of a padlock: legs of the given width that end at left and right feet, around cx, with its round
// top centred at cy.
func shackle(cx, cy, radius, width, leftFoot, rightFoot float64) outline {
	in, out := radius-width/2, radius+width/2
	return func(p pen) {
		p.move(cx-out, leftFoot)
		p.line(cx-out, cy)
		p.arc(cx, cy, out, math.Pi, 2*math.Pi, p.line)
		p.line(cx+out, rightFoot)
		p.line(cx+in, rightFoot)
		p.line(cx+in, cy)
		p.arc(cx, cy, in, 2*math.Pi, math.Pi, p.line)
		p.line(cx-in, leftFoot)
	}
}
