//! Function words by language.

use whatlang::Lang;

/// Function words of languages in Latin script, lower case, of at most 8 bytes. Languages that are near each other
/// (Danish and Norwegian, Czech and Slovak) share most of theirs, so that neither is clear.
pub const WORDS: &[(Lang, &str)] = &[
    (
        Lang::Eng,
        "the of and to in is that for it with as be are this you or not by from can if will when \
         which a an at was were have has had but he his her they their we i all one so about there \
         what who would its more only no these use may on",
    ),
    (
        Lang::Deu,
        "der die und das ist zu den nicht mit von sich ein eine auf für dem auch werden wird sie als \
         oder im kann in des an es er ich war aus bei nach einer eines einem einen wie nur noch aber \
         so wenn um sind zum zur wir hat diese dieser",
    ),
    (
        Lang::Fra,
        "le la les de des et un une est du en que dans pour qui ce pas sur par au ou avec l d être \
         cette sont à il elle ne se on plus mais aux son sa ses je nous vous comme si peut fait leur \
         était",
    ),
    (
        Lang::Spa,
        "el la los las de y que en un una es se del por con para no lo su como al o si este esta son \
         más pero sus le ha sin sobre entre cuando ser también muy puede fue hay me",
    ),
    (
        Lang::Ita,
        "il la di e che un una è in per non si con del della le i da sono l dei nel o alla essere \
         gli a al lo più anche come delle ma questo questa se dal nella degli ha può su d ed",
    ),
    (
        Lang::Por,
        "o a os as de e que do da em um uma é para não com se dos por no na ou ao são pode mais como \
         mas das pelo pela foi ser ele seu sua à quando muito já este esta nos nas",
    ),
    (
        Lang::Nld,
        "de het een en van is dat op te in voor niet met zijn die aan er wordt of door als kan om \
         worden ook bij uit maar dan nog deze dit naar ze hij was heeft wel je ik u geen over wat",
    ),
    (
        Lang::Afr,
        "die en van is in het nie te wat om vir dat op met word aan as sal deur ook hierdie",
    ),
    (
        Lang::Pol,
        "w i na z się nie jest do to że o jak po dla przez lub może być od są za oraz tym",
    ),
    (
        Lang::Ces,
        "a se v na je to že s z do o pro k i by jako nebo jsou který pokud ve lze při být není",
    ),
    (
        Lang::Slk,
        "a sa v na je to že s z do o pre k aj by ako alebo sú ktorý ak nie pri byť môže vo",
    ),
    (
        Lang::Slv,
        "in je v na se za so da z ki ne s pa ali po kot tudi če lahko ni od iz bo ter pri",
    ),
    (
        Lang::Hrv,
        "i u je se na da za su od s koji ili ne kao iz to će biti ako možete nije kako može pri",
    ),
    (
        Lang::Swe,
        "och i att det en som är av på för den med till inte om ett har kan från eller de du när",
    ),
    (
        Lang::Dan,
        "og i at det en er af på for den med til ikke som der et har kan fra eller de du når hvis",
    ),
    (
        Lang::Nob,
        "og i at det en er av på for den med til ikke som et har kan fra eller de du når hvis å",
    ),
    (
        Lang::Fin,
        "ja on ei se että tai kun jos ovat voi myös joka jotka ole sen mutta kuin tämä niin voidaan",
    ),
    (
        Lang::Est,
        "ja on ei et see või kui ka mis saab oma seda selle kus sa siis mida olema vaid need",
    ),
    (
        Lang::Hun,
        "a az és egy hogy nem is ez ha vagy meg van csak kell mint de ki lehet amely ezt sem",
    ),
    (
        Lang::Tur,
        "ve bir bu için ile de da olarak olan veya ne gibi daha çok en ise kadar değil eğer her",
    ),
    (
        Lang::Ron,
        "și în de la a un o nu este care cu pe pentru din să sau se ale al mai fi sunt dacă",
    ),
    (
        Lang::Vie,
        "và của là có cho các không được một trong để với này người những khi từ đã thể nếu bạn",
    ),
    (
        Lang::Ind,
        "yang dan di untuk dengan dari ini pada adalah tidak dalam ke atau akan itu anda oleh dapat \
         jika",
    ),
    (
        Lang::Cat,
        "el la els les de i que en un una és no per del amb a l d es al o si aquest aquesta com són",
    ),
    (
        Lang::Lit,
        "ir į yra kad iš su tai kaip nuo bet apie arba jei tik galite ar jūs gali šis ne per",
    ),
    (
        Lang::Lav,
        "un ir ar no uz kas lai par vai ka šo tiek jūs var šī pēc bet jo kā nav",
    ),
    (
        Lang::Cym,
        "y yn i a yr ar o ei mae ac wedi am bod gan neu hyn sydd ni os eich ydych gyfer",
    ),
    (
        Lang::Epo,
        "la de kaj en estas al por ne ke kun vi ol aŭ ĉi se sed el per pri tiu tio",
    ),
];
