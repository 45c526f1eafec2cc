"""A generator of simple stories: the training, calibration and evaluation text of the sample model.

Every sentence is made here from a small grammar; no text comes from anywhere else. Licence: Apache-2.0,
like the rest of the project.

    python stories.py --seed 1 --stories 3          prints three stories
    python stories.py --entropy --stories 4000      the generator's own entropy, per story, word and byte
      … --tokenizer TOKENIZER_JSON                  and per token, with the least perplexity that a model can have
    python stories.py --check --stories 200         is every choice visible in the text? (see below)

A story has a hero, a friend, an elder, an animal, a thing with its colour and material, a place with its
hiding spots, weather, a feeling and one of ten plots. They are drawn once and come back through the whole story:
names with their pronouns, the thing with what one does with it, the place, the number, the food, and at the
end the feeling or the promise with which it began. That is the long-range agreement that a model has to learn.

Entropy. Text is made by choices only: `Dice.pick` draws one of n alternatives and adds log2(n) bits. A story
with b bits has the probability 2^-b of being made by exactly these choices, without rejection of stories
afterwards. Where different choices always give different text, the mean of b is the entropy of the stories,
and mean bits / mean tokens is the least cross-entropy (in bits per token, the end of the story counted) that
any model of this text can reach; exp(ln 2 * bits / tokens) is the least perplexity. If two rows of choices
could give the same text, the true bound would be lower by that ambiguity; `--check` changes choices one at a
time, keeping all others, and counts how often the text stays the same (0 is wanted).
"""

import argparse
import json
import math
import random
import re


class Dice:
    """Draws alternatives and counts the bits of information in the draws; can replay a row of draws."""

    def __init__(self, rng, replay=()):
        self.rng, self.replay, self.draws, self.bits = rng, list(replay), [], 0.0

    def pick(self, alternatives):
        n = len(alternatives)
        k = len(self.draws)
        index = self.replay[k] % n if k < len(self.replay) else self.rng.randrange(n)
        self.draws.append((index, n))
        self.bits += math.log2(n)
        return alternatives[index]


# --- words ----------------------------------------------------------------------------------------

GIRLS = "Anna Mia Lily Rosa Nora Zoe Ella Ivy Clara Ruby Hana Tess Maya Ida Lena Wren".split()
BOYS = "Tom Ben Max Leo Sam Jack Omar Finn Hugo Noah Ravi Gus Emil Karl Theo Yusuf".split()
SHE = dict(he="she", him="her", his="her", He="She", His="Her", child="girl", self="herself")
HE = dict(he="he", him="him", his="his", He="He", His="His", child="boy", self="himself")

ELDERS = [("mother", SHE), ("father", HE), ("grandmother", SHE), ("grandfather", HE), ("aunt", SHE), ("uncle", HE)]

# thing: what one does with it; its sound or look; what may break
THINGS = {
    "kite": ("fly it", "danced in the wind", "tail"), "ball": ("throw it", "bounced up and down", "seam"),
    "boat": ("sail it", "floated on the water", "mast"), "drum": ("play it", "went boom, boom, boom", "skin"),
    "book": ("read it", "smelled of old paper", "cover"), "lamp": ("light it", "shone like a little moon", "handle"),
    "hat": ("wear it", "kept the sun away", "ribbon"), "bell": ("ring it", "went ding, ding, ding", "rope"),
    "whistle": ("blow it", "sang like a bird", "string"), "cart": ("pull it", "rolled along the path", "wheel"),
    "doll": ("dress it", "had two shiny buttons for eyes", "arm"), "flute": ("play it", "made a soft, sweet sound", "end"),
    "wagon": ("push it", "rattled over the stones", "wheel"), "puppet": ("make it dance", "had a funny long nose", "leg"),
    "basket": ("carry it", "could hold ten big apples", "handle"), "scarf": ("wear it", "was as warm as a cat", "edge"),
}
COLOURS = "red blue green yellow white black golden silver orange purple brown pink".split()
SIZES = "little big old new small shiny".split()

# place: hiding spots there
PLACES = {
    "garden": ("behind the shed", "under the rose bush", "next to the well", "between the beans"),
    "forest": ("under a fallen tree", "inside a hollow log", "behind the ferns", "among the mushrooms"),
    "park": ("under the bench", "behind the fountain", "beside the swings", "near the iron gate"),
    "meadow": ("in the tall grass", "behind a large stone", "by the broken fence", "under the lone oak"),
    "village": ("behind the bakery", "under the bridge", "on the church steps", "beside the mill"),
    "beach": ("among the shells", "under the pier", "behind the sand hills", "between two rocks"),
    "farm": ("in the hay", "behind the barn", "under the tractor", "beside the pig pen"),
    "orchard": ("under the pear tree", "behind the ladder", "among the apple boxes", "near the beehives"),
    "valley": ("beside the stream", "inside a small cave", "under a thorn bush", "behind the ruins"),
    "harbour": ("behind the nets", "under an old boat", "among the barrels", "near the lighthouse"),
}
ANIMALS = {
    "rabbit": ("leg", "hole", "carrots"), "bird": ("wing", "nest", "seeds"), "fox": ("paw", "den", "berries"),
    "hedgehog": ("foot", "pile of leaves", "apples"), "squirrel": ("tail", "tree", "nuts"), "cat": ("ear", "barn", "fish"),
    "duck": ("wing", "pond", "bread"), "puppy": ("paw", "kennel", "bones"), "mouse": ("tail", "hole in the wall", "cheese"),
    "owl": ("wing", "hollow tree", "crumbs"), "goat": ("horn", "hill", "cabbage"), "pony": ("leg", "stable", "oats"),
}
WEATHER = {
    "sunny": "the sun", "windy": "the wind", "rainy": "the rain", "snowy": "the snow", "foggy": "the fog",
    "cloudy": "the clouds", "cold": "the frost", "stormy": "the thunder",
}
TRAITS = "brave shy kind clever quiet cheerful curious patient lazy proud honest careful".split()
BAD = "sad worried angry lonely scared upset tired ashamed".split()
GOOD = "happy proud glad calm thankful cheerful safe merry".split()
FOODS = "soup|bread|pancakes|plum cake|honey|porridge|apple pie|warm milk|cookies|cheese|pea stew|jam".split("|")
PLANTS = "pumpkin sunflower bean cherry melon tomato tulip apple".split()
FEARS = ["the dark", "deep water", "the big dog", "loud thunder", "high places", "strangers", "the old tower", "bees"]
NUMBERS = "two three four five six seven".split()
TIMES = ["One morning", "One day", "One afternoon", "Early one day", "One spring day", "Last summer", "On Monday",
         "On Sunday", "One quiet evening", "After breakfast"]
TOOLS = "glue|a needle and thread|a hammer and nails|strong tape|a piece of string|a bit of wax".split("|")
PRIZES = ["a golden cup", "a jar of sweets", "a silver medal", "a big cheese", "a blue ribbon", "a new hat"]
LESSONS = ["to ask for help", "to tell the truth", "to share", "to be patient", "to try again", "to be kind",
           "to look twice", "to listen well"]

# --- sentences: [a|b] is a choice, {x} an entity ---------------------------------------------------

OPENING = [
    "[Once upon a time|Long ago|Once|Not long ago], there was {a trait} {child} [named|called] {H}. {He} lived [near|close to|beside|not far from] the {place} with {his} {elder}.",
    "{H} was {a trait} {child} who lived [in a small house|in a tall house|in a stone cottage|on a hill] [near|by|behind|close to] the {place}. [Every day|Each morning|Every evening|Most of the time], {he} [talked|sang|walked|worked] with {his} {elder}.",
    "There once was a {child} [named|called] {H}. [Everyone knew that|People said that|All the neighbours said that] {he} was very {trait}. {He} and {his} {elder} [loved|liked] the {place}.",
    "In a house [near|by|beyond] the {place} lived {a trait} {child}. {His} name was {H}, and {he} [had|lived with] {a elder} who [told good stories|cooked very well|laughed a lot|knew every bird|slept too much].",
]
WITH_THING = [
    "{H} had {a obj}. [It was a gift from {his} {elder}|{His} {elder} had made it by hand|{He} had found it at the market|{He} got it for {his} birthday|It had once belonged to {his} {elder}], and {he} [loved|liked|wanted] to {use} [all day|every day|after school|before supper].",
    "The [best|dearest|finest] thing {he} had was {a obj}. It {look}, and {he} [never let it go|took it everywhere|kept it under {his} bed|cleaned it each night].",
    "[More than anything|Above all|Most of all], {H} loved {his} {obj}. It {look}, and [nobody else|no other child|only {his} {elder}] could {use} [so well|better|like that].",
]
WEATHER_LINE = [
    "{T}, it was {weather} and {H} went to the {place}.",
    "{T}, {H} [walked|ran|went|hurried] to the {place}, though it was {weather}.",
    "{T}, when it was {weather}, {H} [took|put on] {his} [coat|boots|cap|blue shawl] and [set out|set off] for the {place}.",
    "{T}, {H} looked out of the window. It was {weather}, so {he} [waited for an hour|was quick|took a warm coat|laughed] and then went to the {place}.",
]
MEET = [
    "There {he} met {his} friend {F}, {a ftrait} {fchild} with [curly|long|short|dark|fair|messy] hair.",
    "{His} friend {F} was [there too|waiting there|already there|sitting on the ground]. {F} was {a ftrait} {fchild}.",
    "[On the way|At the corner|By the gate|Soon], {he} saw {F}, {a ftrait} {fchild} from [school|the next street|the other side of the hill|the mill].",
]
LOST = [
    "{H} [wanted to {use}|played for a while], but [suddenly|then|all at once] the {obj} was gone. {He} felt {bad}.",
    "[A strong wind came|A dog barked|Somebody shouted|A bell rang], and {H} [looked away|turned around|jumped]. When {he} looked again, {his} {obj} was not there. {He} was very {bad}.",
    "[At noon|After an hour|In the end|Before long], {H} put down the {obj} to [rest|eat some {food}|drink some water|tie {his} shoe]. Then {he} could not find it, and {he} became {bad}.",
]
ASK = [
    '"Have you seen my {obj}?" {he} asked {F}. "No," said {F}, "but I will help you [look|search|find it]."',
    '"My {thing} is gone!" {H} [cried|shouted|said]. "Do not be {bad}," {F} [answered|said|replied]. "We will look [together|everywhere|until we find it]."',
    '{F} saw that {H} was {bad}. "What is wrong?" {fhe} asked. "I lost my {obj}," {H} [said|whispered|sighed].',
]
SEARCH = [
    "First they looked {spot1}, but there was only [a stone|an old shoe|a beetle|a feather|a rusty key]. Then they looked {spot2}, but [it was not there either|there was nothing at all|they found only leaves|a toad looked back at them].",
    "They [searched|looked] {spot1} and {spot2}. [Nothing|No {thing}|They found no {thing}]! {F} [shook {fhis} head|sat down|scratched {fhis} chin|did not give up].",
    "{F} looked {spot1} while {H} looked {spot2}. [For a long time|For {number} hours|Until it was almost dark], they found nothing.",
]
FOUND = [
    "At last, {H} looked {spot3}, and there was the {obj}! A [friendly|sleepy|hungry|tiny] {animal} was [sitting on it|sleeping beside it|playing with it|looking at it].",
    "Then a [friendly|small|young|grey] {animal} came and [ran|went|led them] to a spot {spot3}. There lay the {obj}, [safe and dry|dirty but whole|a little wet|just as before].",
    '"Look!" {F} [called|cried|shouted]. {Fhe} pointed {spot3}. {A animal} had [taken|found|hidden] the {obj} there, and it {look} [again|as always].',
]
AFTER_FOUND = [
    "{H} was not {bad} any more. {He} [hugged|thanked|kissed] {F} and gave the {animal} some {animalfood}.",
    "{H} [laughed|jumped for joy|clapped {his} hands]. {He} thanked {F}, and the {animal} got {animalfood} [for supper|as a reward|from them].",
    '"Thank you, {F}," said {H}. "Now you may {use} [too|first|until evening]." The {animal} [ate|wanted|got] {animalfood}.',
]
RESCUE = [
    "{Spot1}, {he} found {a animal}. Its {part} was hurt, and it looked {bad}.",
    "{He} heard a [soft|strange|weak] sound {spot1}. It was {a animal} with a hurt {part}, and it was {bad}.",
    "{A animal} lay {spot1}. [It could not move|It did not run away|It was cold and hungry], because its {part} was [hurt|broken|bleeding]. The poor thing was {bad}.",
]
CARRY = [
    "{H} [took|lifted|picked up] the {animal} [gently|carefully|slowly] and carried it home in {his} {obj}. {His} {elder} [washed|cleaned|looked at] the {part}.",
    '"Do not be {bad}," {H} said to the {animal}. {He} carried it to {his} {elder}, who [put a bandage on|looked after|washed] the {part}.',
    "{H} called {F}, and together they brought the {animal} home. {His} {elder} [knew what to do|found a soft blanket|made a small bed], and soon the {part} was [clean|warm|covered].",
]
FEED = [
    "For {number} days, {H} gave it {animalfood} and [water|fresh milk|clean straw]. [Every night|Each evening|Every morning], {he} [sang to it|talked to it|sat beside it|told it a story].",
    "It [ate|wanted] only {animalfood}, so {F} brought {animalfood} [every day|each morning|twice a day] for {number} days.",
    "{H} and {F} cared for the {animal} for {number} days. They [fed it|brought it] {animalfood} and [kept it warm|let it sleep|stroked its back|changed its bed].",
]
FREE = [
    "After {number} days, the {part} was [well|strong|healed] again. The {animal} [went|ran|hurried] back to its {home} beyond the {place}.",
    "When {number} days were over, {H} carried the {animal} to its {home} and said [goodbye|farewell]. {He} was {good}, and [a bit|a little] {bad} too.",
    '"It is time to go home," said {his} {elder} after {number} days. The {animal} looked back [once|twice] and went to its {home}.',
]
RETURN = [
    "[Next spring|A year later|Some weeks later|One day], the {animal} came back to {H}. It brought {him} [a shell|a flower|a shiny stone|{number} berries|a feather].",
    "From then on, whenever {H} was {bad}, the {animal} came from its {home} and [sat|stayed|played] with {him}.",
    "{H} never forgot the {animal} with the hurt {part}, and the {animal} never forgot {H}.",
]
QUARREL = [
    '{H} and {F} both wanted the {obj}. "I want to {use}!" [cried|shouted|said] {H}. "No, it is my turn!" [cried|shouted|said] {F}.',
    "{F} wanted to {use}, but {H} [held it tight|said no|ran away with it|pushed {fhim} away]. {F} became {bad}.",
    "{H} would not let {F} touch the {obj}. They [pulled|shouted|argued] [so hard|so long|so much] that the {broken} almost broke, and both of them were {bad}.",
]
QUARREL2 = [
    "{F} [went away|sat down {spot1}|walked home|hid {spot1}] and did not speak [for {number} hours|until evening|to anyone|any more].",
    "{H} went to play alone {spot1}. But it was [no fun|boring|too quiet] without {F}.",
    "Then they [sat|stood] back to back {spot1}. [Even|Only] the {animal} {spot2} looked {bad}.",
]
ADVICE = [
    '"A {thing} is more fun for two," said {his} {elder}. "{H}, why do you not {use} first, and then {F}?"',
    '{His} {elder} [saw this|heard the noise|came out]. "{F} is your friend," {ehe} [said|told {him}]. "A friend is worth more than {a obj}."',
    'At home, {H} asked {his} {elder} what to do. "Share the {thing}," {ehe} [said|answered], "and give {F} some of my {food}."',
]
SHARE = [
    "So {H} took the {obj} and some {food} to {F}. \"[I am sorry|Forgive me|That was wrong of me],\" {he} said. {F} [smiled|nodded|laughed], and they ate the {food} together.",
    '{H} ran to {F}. "You can {use} now," {he} [said|whispered]. {F} was not {bad} any more. "Let us take turns," {fhe} [said|answered].',
    "{H} gave {F} the {obj} for {number} days. {F} was so {good} that {fhe} brought {him} some {food}.",
]
BREAK = [
    "{H} was not allowed to take the {obj} of {his} {elder}, but {he} did. [Crack|Crash|Snap|Oh no]! The {broken} broke. {H} was {bad}.",
    "The {obj} belonged to {his} {elder}. {H} [ran too fast|was not careful|slipped on the floor], and it fell. Its {broken} was broken, and {he} felt {bad}.",
    "{H} [showed|gave] {F} the {obj} of {his} {elder}. It fell [down|on a stone|from {fhis} hands], and the {broken} broke. Both of them were {bad}.",
]
HIDE = [
    "{He} hid it {spot1} and [said nothing|ran away|told nobody]. That night, {he} could not [sleep|eat {his} {food}|sit still].",
    '"We can hide it {spot1}," said {F}. [But|Yet] {H} shook {his} head, for {he} was {ownkind}.',
    "First {he} wanted to hide it {spot1}. Then {he} [thought about|looked at|remembered] {his} {elder}, and {his} heart grew heavy.",
]
CONFESS = [
    '"[Dear {elder}|Please listen|I must tell you something]," said {H}, "I broke the {broken} of your {thing}." {His} {elder} was [quiet|silent] for a [moment|while].',
    "In the [morning|evening], {H} went to {his} {elder} and told the truth about the {obj}. {He} [cried|blushed|looked at {his} feet].",
]
MEND = [
    'But {ehe} was not angry. "We can mend it with {tool}," {ehe} said. They took {tool}, and [soon|before supper|after {number} hours] the {broken} was [whole|good|like new] again.',
    "{F} came with {tool}. With {tool} they mended the {broken}, and then the {obj} was [whole|good|as good as new] again.",
    '"You are honest, and that makes me {good}," said {his} {elder}. [Together|Slowly|That night], they mended the {broken} with {tool}.',
]
FEAR = [
    "{H} was afraid of {fear}. When the others went [on|home|to play], {he} stayed {spot1} and felt {bad}.",
    "There was one thing that made {H} {bad}: {he} was afraid of {fear}. [Nobody knew it|Only {his} {elder} knew|{He} never spoke of it|{He} hid it well].",
    "[All|Some] of the children laughed because {H} feared {fear}. {He} ran away and sat {spot1}, {bad} and alone.",
]
HELP = [
    '{F} found {him} there. "I was afraid of {fear} too," {fhe} said. "My {obj} helped me. [Take it|Hold it|Keep it] until you are brave."',
    '"Take my hand," said {F}. "We will count to {number} [together|slowly|out loud], and then {fear} will seem small."',
    "{F} did not laugh. {Fhe} gave {H} {a obj} and said, \"When you think of {fear}, just {use}.\"",
]
BRAVE = [
    "{H} [closed {his} eyes|took a deep breath|held {his} breath] and counted to {number}. Then {he} thought of {fear}, and {his} heart [was quiet|beat slowly|did not jump].",
    "The next day, {H} [tried|tried it] {number} times. Each time, {fear} seemed [smaller|less bad|more friendly|further away].",
    "Then something happened. A small {animal} was [in trouble|lost|crying] {spot2}, and {H} forgot {fear} and [ran|went|hurried] to help it.",
]
RACE = [
    "There was a great race in the {place}, and the prize was {prize}. {H} wanted to win {prize} for {his} {elder}.",
    "All the children [talked about|waited for|dreamed of] the race. Whoever ran {number} times around the {place} would get {prize}.",
    "A poster said: \"Big race in the {place}! Win {prize}!\" {H} [read it|saw it] and [wrote down|gave] {his} name [at once|with a smile].",
]
TRAIN = [
    "For {number} weeks, {H} [ran|trained] every [day|morning|evening]. {He} ate {food} and [slept well|went to bed early|drank much water].",
    "{He} [trained|ran] with {F} and {a animal}. The {animal} was [fast|faster|slow], but {H} [did not mind|laughed|kept running].",
    "{His} {elder} cooked {food} for {him}, because {food} makes [strong legs|good runners|a strong heart].",
]
FALL = [
    "On the day of the race, {F} fell {spot1} and hurt {fhis} [knee|foot|hand]. {Fhe} was {bad}. {H} was [first|far ahead|almost there], but {he} stopped and [helped|carried] {fhim}.",
    "{H} [was|ran] in front. Then {he} saw {F} {spot1}. {F} had lost a shoe and looked {bad}. {H} turned back [at once|without a word] and helped {fhim}.",
]
WIN = [
    "They came in last, but [everyone|the whole {place}] clapped. The judge gave both of them {prize}.",
    "So {a animal} won the race! [Everyone|All the people] laughed, and {H} and {F} got {prize} for [their kindness|good hearts].",
    "Somebody else won {prize}. But {F} said, \"You are my {prizeword} today,\" and {H} was {good}.",
]
PLANT = [
    "{His} {elder} gave {H} {number} {plant} seeds. {He} put them into the ground {spot1}.",
    "{H} wanted to grow {a plant}. With {his} {obj} {he} carried [water|earth] to a spot {spot1} and planted {number} seeds.",
    "At the market, {H} [traded|gave] {his} {obj} for {number} {plant} seeds. {He} planted them {spot1}.",
]
WAIT = [
    "{He} waited {number} days, but there was no {plant}. {H} was {bad}. \"[Wait|Be patient|Give it time],\" said {his} {elder}.",
    "{Wx} came, and {H} was {bad}. Would the {plant} [live|grow|die]? {F} [helped|came] and covered it with [straw|a cloth|leaves].",
    "{A animal} came and [ate|took] one of the {number} seeds. {H} was {bad}, but {F} [built a fence|made a scarecrow|kept watch].",
]
GROW = [
    "Then, after {wx}, a green leaf [came up|appeared] {spot1}. Soon the {plant} was [as tall as|taller than|as round as] {F}.",
    "At last the {plant} grew {spot1}. It was the [biggest|finest|sweetest] {plant} in the whole {place}.",
]
HARVEST = [
    "{H} and {F} [sold|gave] the {plant} [to|at] the market and [got|bought] {food}. They shared the {food} with {his} {elder}.",
    "{His} {elder} [made|cooked] {food}, and {F} and {number} [friends|neighbours] came to eat. \"[Hurrah for|Long live] the {plant}!\" they sang.",
    "{He} gave the {plant} to {F}, who was {good}, and kept {number} seeds for [the next year|the {animal}|{his} {elder}].",
]
MARKET = [
    "{His} {elder} gave {him} {number} coins to buy {food}. On the way, {spot1}, {he} met {a animal} that was {bad}.",
    "{H} had {number} coins and wanted to buy {a obj}. But {spot1} sat {a animal}, {bad} and thin.",
    "With {number} coins in {his} pocket, {H} went to buy {food} for {F}. Then {he} saw {a animal} {spot1}. It looked {bad}.",
]
SPEND = [
    '"You need {animalfood}," said {H}. {He} spent all {number} coins on {animalfood}, and the {animal} ate [everything|until it was full|and wagged its {part}].',
    "{H} [thought|waited] for a moment and then gave {number} coins for {animalfood}. The {animal} was not {bad} any more.",
]
TREASURE = [
    "The {animal} led {H} to a place {spot2}. There {he} found {a obj}! It {look}.",
    "Then the {animal} [dug|scratched|searched] {spot2} and brought {a obj}. {H} could not believe {his} eyes.",
]
HOME2 = [
    "{F} [helped|wanted] to carry it home. {H} told {his} {elder} about the {number} coins, and {ehe} [laughed|smiled|was not angry].",
    "At home, {his} {elder} asked about the {number} coins. {H} told {ehim} of the {animal}, and {ehe} [hugged|kissed|praised] {him}.",
]
MAKE = [
    "Soon it was the birthday of {F}. {H} wanted to make {a obj} for {fhim}, since {F} loved to {use}.",
    "{F} was ill and had to stay in bed for {number} days. {H} felt {bad} and wanted to bring {fhim} {a obj}.",
    "{F} was moving away to a house beyond the {place}. {H} was {bad}, and {he} decided to give {fhim} {a obj}.",
]
GATHER = [
    "{He} looked for [wood|cloth|paint|a strong rope] {spot1}, and for [a box|some nails|a bow|good paper] {spot2}. {A animal} [watched|followed|helped] {him}.",
    "{His} {elder} had {tool}, and with {tool} {he} worked for {number} [hours|evenings|days].",
    "It was hard work. The {broken} [fell off|came out too long|was not straight] {number} times, but {H} did not give up.",
]
GIVE = [
    '"This is for you," said {H}. {F} [opened|took] it and saw the {obj}. It {look}. "[Thank you|How lovely|I cannot believe it]!" {fhe} [cried|said|whispered].',
    "When {F} got the {obj}, {fhe} was so {good} that {fhe} wanted to {use} at once. {H} and {fhis} {animal} [watched|listened|laughed].",
]
COUNT = "[two|three|four|five|six|seven|eight|nine]"
SHADE = "[white|black|grey|brown|red|blue|green|yellow]"
CREATURES = "[birds|cows|sheep|ducks|geese|frogs|snails|butterflies|horses|cats|dogs|ants|bees|mice|crows|goats]"
SIGHTS = "[clouds|houses|boats|trees|flowers|stones|leaves|flags|wheels|windows|baskets|bottles|ropes|chairs|doors|kites]"
ACT = "[sang a song|told a joke|ate an apple|ran in circles|climbed a tree|picked some flowers|threw stones|drew a picture|laughed for a long time|looked at the sky|counted the birds|jumped over a puddle|shared some {food}|lay in the grass|whistled|danced]"
DETAIL = [
    "",
    f"{{He}} counted {COUNT} {SHADE} {CREATURES} and {COUNT} {SHADE} {SIGHTS}.",
    f"[Above|Below|Behind|Around] them were {COUNT} {SIGHTS} and {COUNT} {CREATURES}.",
    f"First they {ACT}, and then they {ACT}.",
    f"{{F}} {ACT} while {{H}} {ACT}.",
    f"\"I see {COUNT} {SHADE} {CREATURES},\" [said|whispered|called] {{H}}. \"And I see {COUNT} {SHADE} {SIGHTS},\" [said|answered|laughed] {{F}}.",
    f"{{F}} [told {{him}} about|spoke of|asked about] {COUNT} {CREATURES} and {{a animal}} that liked {SHADE} {SIGHTS}.",
    f"In {{fhis}} [bag|pocket|hand], {{F}} had [some|a little|a lot of] {{food}}, {COUNT} {SHADE} [buttons|stones|beads|feathers|coins|shells|nuts|marbles] and [a key|a spoon|a map|a candle|a pencil|a mirror|a ring|a comb].",
]
ENDING = [
    "[In the evening|That night|At the end of the day|Later], {H} was {good}. {He} told {his} {elder} about {F} and the {keep}. That day, {he} had learned {lesson}.",
    "{H} and {F} [went|walked|ran] home from the {place}. They were {good} [and|but] tired. {His} {elder} gave them {food}, and they talked about the {keep} until [late|bedtime|the moon rose].",
    "Now {H} is {good}. {He} still has the {keep} [in {his} heart|on {his} mind], and {F} is still {his} [best|dearest] friend. \"It is good {lesson},\" says {his} {elder}.",
    "{His} {elder} said, \"{H}, you have learned {lesson}.\" And {H} was {good}. [Even today|To this day], people from the {place} tell the story of {H}, {F} and the {keep}.",
    "So {H}, the {trait} {child}, learned {lesson}. {F} was {good} too, and the [two|pair] of them often came back to the {place} to [see|remember] the {keep}.",
]

# plot: (does the story open with the thing?, the sentence groups, what the ending remembers)
PLOTS = {
    "lost": (True, [LOST, ASK, SEARCH, FOUND, AFTER_FOUND], "obj"),
    "rescue": (True, [RESCUE, CARRY, FEED, FREE, RETURN], "animal"),
    "quarrel": (True, [QUARREL, QUARREL2, ADVICE, SHARE], "obj"),
    "broken": (False, [BREAK, HIDE, CONFESS, MEND], "obj"),
    "fear": (False, [FEAR, HELP, BRAVE], "fear"),
    "race": (False, [RACE, TRAIN, FALL, WIN], "race"),
    "plant": (True, [PLANT, WAIT, GROW, HARVEST], "plant"),
    "market": (False, [MARKET, SPEND, TREASURE, HOME2], "animal"),
    "gift": (False, [MAKE, GATHER, GIVE], "obj"),
    "visit": (True, [LOST, ASK, FOUND, RESCUE, FEED, FREE], "animal"),
}


# --- the story ---------------------------------------------------------------------------------------


class World(dict):
    """Entities are drawn when the text first needs them, so that each draw shows where it is made."""

    def __init__(self, dice, plot):
        super().__init__()
        self.dice, self.plot = dice, plot
        self["H"], pronouns = dice.pick([(n, SHE) for n in GIRLS] + [(n, HE) for n in BOYS])
        self.update({key: pronouns[key] for key in ("he", "him", "his", "He", "His", "child")})

    def __missing__(self, key):
        pick = self.dice.pick
        if key in ("F", "fhe", "fhim", "fhis", "Fhe", "fchild"):
            friends = [(n, SHE) for n in GIRLS if n != self["H"]] + [(n, HE) for n in BOYS if n != self["H"]]
            self["F"], p = pick(friends)
            self.update(fhe=p["he"], fhim=p["him"], fhis=p["his"], Fhe=p["He"], fchild=p["child"])
        elif key in ("elder", "ehe", "ehim", "ehis"):
            self["elder"], p = pick(ELDERS)
            self.update(ehe=p["he"], ehim=p["him"], ehis=p["his"])
        elif key == "thing":
            self["thing"] = pick(list(THINGS))
        elif key in ("use", "look", "broken"):
            self["use"], self["look"], self["broken"] = THINGS[self["thing"]]
        elif key == "obj":
            self["obj"] = pick(COLOURS if len(self["thing"]) % 2 else SIZES) + " " + self["thing"]
        elif key in ("place", "spot1", "spot2", "spot3"):
            if "place" not in self:
                self["place"] = pick(list(PLACES))
            if key != "place":
                taken = [self[s] for s in ("spot1", "spot2", "spot3") if s in self]
                self[key] = pick([s for s in PLACES[self["place"]] if s not in taken])
        elif key in ("animal", "part", "home", "animalfood"):
            self["animal"] = pick(list(ANIMALS))
            self["part"], self["home"], self["animalfood"] = ANIMALS[self["animal"]]
        elif key in ("weather", "wx"):
            self["weather"] = pick(list(WEATHER))
            self["wx"] = WEATHER[self["weather"]]
        elif key == "ftrait":
            self["ftrait"] = pick([t for t in TRAITS if t != self["trait"]])
        elif key == "ownkind":
            self["ownkind"] = self["trait"]
        elif key == "prizeword":
            self["prizeword"] = self["prize"].split(" ", 1)[1]
        elif key == "lesson":
            self["lesson"] = pick(LESSONS)
        elif key == "keep":
            what = PLOTS[self.plot][2]
            self["keep"] = "day without fear" if what == "fear" else what if what == "race" else self[what]
        else:
            self[key] = pick({"trait": TRAITS, "bad": BAD, "good": GOOD, "food": FOODS, "plant": PLANTS, "fear": FEARS,
                              "number": NUMBERS, "T": TIMES, "tool": TOOLS, "prize": PRIZES}[key])
        return self[key]


TOKEN = re.compile(r"\{([^{}]+)\}|\[([^\[\]]+)\]")


def fill(template, world, dice):
    """Resolves choices and entities from left to right, so that information appears in reading order."""
    text, position = [], 0
    for match in TOKEN.finditer(template):
        text.append(template[position : match.start()])
        position = match.end()
        entity, choice = match.group(1), match.group(2)
        if choice is not None:
            text.append(fill(dice.pick(choice.split("|")), world, dice))
        elif entity[:2] in ("a ", "A "):
            value = world[entity[2:]]
            text.append(entity[0] + ("n " if value[0] in "aeiou" or value.startswith("honest") else " ") + value)
        elif entity in ("Spot1", "Wx"):
            value = world[entity.lower()]
            text.append(value[0].upper() + value[1:])
        else:
            text.append(world[entity])
    text.append(template[position:])
    return "".join(text)


def make(dice):
    plot = dice.pick(list(PLOTS))
    world = World(dice, plot)
    opens_with_thing, groups, _ = PLOTS[plot]
    sentences = [fill(dice.pick(OPENING), world, dice)]
    if opens_with_thing:
        sentences.append(fill(dice.pick(WITH_THING), world, dice))
    sentences.append(fill(dice.pick(WEATHER_LINE), world, dice))
    sentences.append(fill(dice.pick(MEET), world, dice))
    for index, group in enumerate(groups):
        if index < 3 and len(groups) < 6:
            sentences.append(fill(dice.pick(DETAIL), world, dice))
        sentences.append(fill(dice.pick(group), world, dice))
    sentences.append(fill(dice.pick(ENDING), world, dice))
    return " ".join(filter(None, sentences))


def story(rng):
    """One story and the information in it, in bits."""
    dice = Dice(rng)
    return make(dice), dice.bits


def stories(seed, count=None):
    """The stories of a seed, endlessly or `count` of them. Different seeds are different draws."""
    rng = random.Random(f"owl-spark stories {seed}")
    while count is None or count > 0:
        yield story(rng)[0]
        count = None if count is None else count - 1


def check(seed, count):
    """Changes one choice at a time and counts how often the text stays as it was."""
    rng, tried, same = random.Random(seed), 0, {}
    for _ in range(count):
        first = Dice(rng)
        text = make(first)
        for k, (index, n) in enumerate(first.draws):
            for other in range(n):
                if other != index:
                    draws = [d[0] for d in first.draws]
                    draws[k] = other
                    tried += 1
                    if make(Dice(random.Random(0), draws)) == text:
                        same[text] = same.get(text, 0) + 1
    return tried, same


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", default="1")
    parser.add_argument("--stories", type=int, default=3)
    parser.add_argument("--json", action="store_true", help='JSON lines with "text" instead of plain text')
    parser.add_argument("--entropy", action="store_true")
    parser.add_argument("--tokenizer", help="tokenizer.json, to give the entropy per token too")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.check:
        tried, same = check(args.seed, args.stories)
        print(json.dumps({"changed choices": tried, "text unchanged": sum(same.values()), "example": next(iter(same), None)}))
        return
    if args.entropy:
        rng = random.Random(f"owl-spark stories {args.seed}")
        made = [story(rng) for _ in range(args.stories)]
        n = len(made)
        words = [len(t.split()) for t, _ in made]
        sentences = {s for t, _ in made for s in re.split(r"[.!?]\"? ", t)}
        found = {
            "stories": n, "distinct stories": len({t for t, _ in made}), "distinct sentences": len(sentences),
            "words per story": sum(words) / n, "fewest words": min(words), "most words": max(words),
            "bits per story": sum(b for _, b in made) / n,
            "bits per word": sum(b for _, b in made) / sum(words),
            "bits per byte": sum(b for _, b in made) / sum(len(t) + 1 for t, _ in made),
        }
        if args.tokenizer:
            from tokenizers import Tokenizer  # nothing else here needs more than Python

            tokenizer = Tokenizer.from_file(args.tokenizer)
            tokens = sum(len(tokenizer.encode(t).ids) for t, _ in made)
            bits = sum(b for _, b in made) / tokens
            found |= {"tokens per story": tokens / n, "bits per token": bits, "least perplexity": 2**bits}
        print(json.dumps(found, indent=1))
        return
    for text in stories(args.seed, args.stories):
        print(json.dumps({"text": text}) if args.json else text + "\n")


if __name__ == "__main__":
    main()
