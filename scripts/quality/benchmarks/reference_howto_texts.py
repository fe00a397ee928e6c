"""What is said in the how-to videos of the part selection. Made up for it; nobody makes what the sponsors sell.

Each story: its title (#), its steps (##) with their sentences, and something beside the subject (~).
"""

from __future__ import annotations

from typing import NamedTuple


class Story(NamedTuple):
    """A title, (heading, sentences) of each step in the description's order, and what is told beside it."""

    title: str
    steps: tuple[tuple[str, tuple[str, ...]], ...]
    aside: tuple[str, ...]


_STORIES = """\
# Repot a houseplant
## Choose a bigger pot
The new pot should be about two fingers wider than the old one, not more.
Anything roomier stays wet for too long, and then the rot begins.
Check that there is a hole at the bottom.
## Take the plant out
Lay it on its side and support the stem with one hand.
Squeeze the old container all around until you feel it give, then let gravity do the rest.
If it will not move, run a butter knife along the inside.
## Loosen the roots
You can see how they have grown round and round in here.
Tease them apart with your fingertips, a little at the bottom and a little at the sides.
Cut off whatever is brown and soft.
## Fill in fresh soil
Put a handful in first, so that the top of the ball ends up just below the rim.
Then work your way around, a spoonful at a time, and press lightly so that no air pockets stay behind.
## Water it and let it rest
Pour slowly until it runs out underneath, wait ten minutes, and empty the saucer.
Keep it out of the sun for a week.
Do not feed it yet: the mix has enough for the next two months.
~ This fern came from a flea market and cost me less than a cup of coffee.
~ It has moved house with me three times and has forgiven me every time.
~ My sister says that I talk to my plants more than I talk to her.
# Sharpen a kitchen knife
## Soak the stone
Put it in a bowl of cold water and leave it until no more bubbles rise.
That takes about a quarter of an hour.
Set it on a damp towel so that it cannot slide around while you work.
## Find the right angle
Lay the blade flat, then raise the back until two coins fit underneath.
For most kitchen knives this comes to fifteen degrees.
Hold that, lock your wrist, and from here on only your arms move.
## Grind both sides
Push it away from you from heel to tip, as if you wanted to shave off a thin layer.
Ten strokes, then turn it over and do ten more.
After a while you feel a tiny burr along the far edge, and that tells you that this half is done.
Change to the finer grit and repeat everything with hardly any pressure.
## Test the edge
Take a sheet of newspaper and slice through it from the top.
If it tears or catches, go back for a few more passes.
Never try it with your thumb.
~ My grandfather had one knife for everything, and he could peel an apple with it in one long ribbon.
~ I still have it, although the handle is held together by string.
~ He would have laughed at my collection.
# Set up a home router
## Connect the cables
The thin grey one goes from the socket in the wall to the port marked internet.
Plug in the power last, and wait until the light stops blinking, which can take up to three minutes.
## Open the settings page
On your computer open a browser and type the number that is printed on the sticker underneath.
You will be asked for a name and a password, and both are on the same label.
## Change the admin password
The one from the factory is known to everybody, so this comes first.
Click on administration, then on access, and enter something long.
Write it down and put the note in a drawer.
## Name your wireless network
Pick something that you will recognise but that does not give away your address.
Choose WPA3 from the list below, or WPA2 if you still own an old printer.
Press save.
## Update the firmware
Go to maintenance and let it look for a new version.
Whatever you do, do not switch it off while the bar is moving.
It restarts on its own, and you have to log in again.
## Test the speed in every room
Walk around with your phone and measure next to the door, in the kitchen and upstairs.
Where it drops below half of what you pay for, move the box a metre and measure once more.
~ Last winter our internet was gone for nine days.
~ We played more board games than in the ten years before.
~ I am not saying that I missed it, but the router got a birthday cake when it came back.
# Make a household budget in a spreadsheet
## List your income
Start in the first column and type in everything that comes in during a normal month.
Wages, child benefit, the rent for the garage, whatever it is.
If it varies, take the lowest of the last six.
## Sort your expenses
Now open your bank statement next to it.
Give every line one of these five words: home, food, travel, fun or other.
Do not think about it for long, because you can always change it later.
## Add up the totals
Click into the empty cell below the numbers, write equals sum, and drag over the column.
Copy that to the right with the little square in the corner.
## Draw a chart
Mark the five words together with their sums and choose insert, then pie.
Labels on, legend off.
Suddenly you see that a third of everything goes to the car.
## Set a limit for each category
Beside every sum put the amount that you would like to see next month.
With a conditional format the cell turns red as soon as you are above it.
Look at it on the first of every month, with a cup of tea, and adjust what was unrealistic.
~ I used to keep all my receipts in a shoe box.
~ Then the cat discovered the shoe box.
~ So a spreadsheet it is, and I must say that my evenings are calmer now.
# Bake flatbread in a pan
## Mix the dough
Three hundred grams of flour, a teaspoon of salt and the yoghurt go into the bowl.
Stir with the handle of a wooden spoon until nothing dry is left at the bottom.
## Knead it
Tip everything out and push with the heel of your hand, fold, turn, and push again.
Five minutes are enough.
It should feel like an earlobe: soft, a little tacky, but it lets go of your fingers.
## Let it rest
Cover the bowl with a plate and go and do something else for half an hour.
Skip this and it springs back every time that you try to shape it.
## Roll out the rounds
Divide it into six, dust the table, and work from the middle outwards.
Make them about as thick as a coin.
They do not have to be pretty.
## Fry them without oil
Get the iron really hot, with nothing in it at all, and lay the first one in.
When you see bubbles and brown spots, flip it and give it another minute.
Brush it with melted butter while it is still steaming, and keep it under a cloth until all of them are done, \
because otherwise they turn into crackers.
~ When we were students this was our dinner four times a week.
~ We had one pan, one plate and no table.
~ The bread was better than anything I have had in a restaurant since, or so I like to remember it.
# Fix a dripping tap
## Turn off the water
Under the sink there are two small valves, and you turn both of them clockwise.
Then open the tap until nothing comes out any more.
## Take off the handle
Lift the little coloured cap with a fingernail.
Below it sits a screw, usually a crosshead, and once that is gone you pull straight up.
Stuck ones give way after some warm vinegar.
## Unscrew the cartridge
For this you need the adjustable wrench and a bit of patience.
Wrap a rag around the chrome so that it does not get scratched.
Half a turn, and the rest goes by hand.
## Replace the rubber washer
This tiny ring is why you could not sleep.
Hook it out with a toothpick and take it with you to the shop, because there are at least nine sizes.
A dab of silicone grease on the new one makes it last.
## Put everything back together
Same order, only the other way round.
Do not use force: snug is enough.
## Check for leaks
Open the valves slowly and hold a dry tissue against every joint.
If it stays dry for five minutes you are finished.
Otherwise tighten the nut by another eighth of a turn.
~ A plumber told me that a dripping tap can fill a bathtub in a week.
~ I did not believe him, so I put a bucket under mine.
~ Let me just say that I owe that man a coffee.
# Hang a wall shelf
## Find the studs
Knock along the wall and listen for where it sounds dull instead of hollow.
A small magnet helps, as it sticks where the plasterboard is screwed down.
Mark each of them with a cross of tape.
## Draw a line at the right height
Measure from the floor, not from the ceiling, and do it at both ends.
Lay the level on it before you trust it.
## Drill the holes
Use a bit that is slightly thinner than the screw.
Keep the machine straight and let a second person hold the vacuum cleaner right below.
Stop when the tape on the bit touches the paint.
## Insert the plugs
Tap them in until they are flush.
If one spins, fill it with a matchstick and some glue.
## Screw on the brackets
Begin with the upper screw of each and leave it loose.
Then put in the lower ones, and only when all four are in do you tighten them.
## Lay the board on top
Slide it back until it touches the wall, and check that the same length sticks out on the left and on the right.
Two short screws from underneath keep it from tipping.
## Load it slowly
Heavy things belong above the supports.
Wait a day, look whether anything has sunk, and then bring the rest of your books.
~ The first shelf that I ever put up came down at three in the morning.
~ It took a vase, a lamp and my confidence with it.
~ My neighbour still asks about it when we meet on the stairs.
# Care for leather boots
## Brush off the dirt
Take out the laces and knock the soles together outside.
A stiff brush does for the welt, a soft one for everything above.
Dried mud comes off best, so be patient if they are still damp.
## Clean with saddle soap
Wet a sponge, wring it out, and make some foam in the tin.
Go over them in small circles, tongue included.
Wipe the grey lather away and let them dry for a night, far from any heater.
## Rub in the wax
A little on a cotton cloth, warmed by your fingers, goes a surprisingly long way.
Do the seams twice, since that is where rain gets in.
Twenty minutes later it has gone dull.
## Polish to a shine
Now long quick strokes with the horsehair, from the toe to the heel and back.
For those who want a mirror: a drop of cold water, an old stocking, and five more minutes.
~ These boots have been to the top of eleven mountains and to one wedding.
~ At the wedding I was asked to stand in the back row.
~ I regret nothing.
"""

WELCOMES = (
    "Hello everybody and welcome back to the channel.",
    "Good morning from a very rainy town.",
    "Thanks for being here, whether you are new or have been around since the beginning.",
    "If you like what you see, a thumbs up helps more than you would think.",
    "Before we start, I want to say thank you for all the postcards.",
    "Grab something warm to drink and make yourself comfortable.",
    "I have wanted to make this one for months, and today is finally the day.",
)
ANNOUNCED = (
    "Today I will show you how to {subject}, and I promise that it is easier than it looks.",
    "So many of you have asked me to {subject} that here we are.",
    "Can anybody learn to {subject}?",
)
SPONSORS = (
    (
        "This part of the video is brought to you by Lumo, the reading light for your neck.",
        "It charges in an hour, lasts for a week, and weighs less than a pair of glasses.",
        "With the code below you get ten percent off your first order.",
    ),
    (
        "A quick word from our friends at Parcel Pantry.",
        "Every month they send me a box of snacks from a country that I have never been to.",
        "Try it for free, and cancel whenever you like.",
    ),
    (
        "I also want to tell you about Quillnote, the app in which I plan all of these videos.",
        "It keeps my lists on every device, and it even reminds me of birthdays.",
        "Follow the link to get two months for nothing.",
    ),
)
DIGRESSIONS = (
    (
        "You may hear some hammering in the background.",
        "They are putting a new roof on the house next door, and they begin at six in the morning.",
        "I have stopped asking when it will be finished.",
    ),
    (
        "Somebody wrote to me about the music at the end.",
        "It is played by my cousin, who taught himself the accordion in one winter.",
        "No, there is no album yet.",
    ),
    (
        "By the way, the camera is new.",
        "The old one fell into a lake, which is a story for another evening, and I am still learning where all of the "
        "buttons are.",
    ),
    (
        "We had the first snow of the year yesterday.",
        "The dog went mad with joy, the children too, and nobody wanted to go to school.",
    ),
    (
        "I was on a train last week, and the man across from me was watching one of my videos.",
        "He did not recognise me.",
        "I took it as a compliment.",
    ),
    (
        "That reminds me of my first flat.",
        "The kitchen was so narrow that you had to walk out of it backwards.",
    ),
)  # fmt: skip
VIEWS = (
    "This is what it looks like outside my window right now.",
    "A few pictures from our trip to the coast.",
    "Just look at that sky.",
    "I could sit here for hours.",
)
GOODBYES = (
    "That is all for today.",
    "Let me know in the comments how it went.",
    "Next week we will visit my aunt and her garden.",
    "And if a friend of yours wants to {subject} too, send them this video.",
    "If you made it this far, you are wonderful.",
    "Have a lovely weekend, and see you soon.",
    "Subscribe if you would like to see more of this.",
)


def stories() -> dict[str, Story]:
    """All stories by title."""
    return {story.title: story for story in map(_story, ("\n" + _STORIES).split("\n# ")[1:])}


def _story(text: str) -> Story:
    title, *lines = text.strip().splitlines()
    steps: list[tuple[str, tuple[str, ...]]] = []
    for line in lines:
        if line.startswith("## "):
            steps.append((line[3:], ()))
        elif not line.startswith("~ "):
            heading, said = steps[-1]
            steps[-1] = heading, (*said, line)
    return Story(title, tuple(steps), tuple(line[2:] for line in lines if line.startswith("~ ")))
