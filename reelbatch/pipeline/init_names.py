"""What catalogues call their columns: in small letters, without accents and signs, the likeliest names first."""

from __future__ import annotations

from collections.abc import Mapping


def _names(*lines: str) -> tuple[str, ...]:
    return tuple(name.strip() for line in lines for name in line.split(","))


NAMES: Mapping[str, tuple[str, ...]] = {
    "image_path": _names(
        "image path, image src, image url, image link, base image, product image url, image, images, image urls",
        "image name, image file, photo, photo url, picture, picture url, main image, featured image, img, img url",
        "bild, bilder, bild url, bildpfad, bilddatei, produktbild, hauptbild, foto, fotos, foto url",
        "imagen, imagenes, imagen url, url imagen, url de la imagen, ruta imagen, foto principal",
        "image principale, photo produit, lien image, url image, url de l image, chemin image",
        "immagine, afbeelding, url, file, datei, fichier, archivo, path",
    ),
    "end_image_path": _names(
        "end image path, end image, end image url, last frame, last image, end frame, endbild",
        "schlussbild, letztes bild",
        "imagen final, ultima imagen, image de fin, image finale, derniere image",
    ),
    "prompt": _names(
        "prompt, video prompt, motion prompt, camera move, camera movement, kamerabewegung, regieanweisung",
        "movimiento de camara, mouvement de camera, consigne video",
    ),
    "row_key": _names(
        "row key, sku, id, product id, item id, article number, article no, item number, item no",
        "part number, handle",
        "product code, item code, key, artikelnummer, artikelnr, artikel nr, art nr, artikel, produktnummer",
        "bestellnummer, materialnummer, produkt id, schlussel, referencia, ref, codigo, codigo de producto",
        "numero de articulo, clave, reference, reference produit, code article, code produit, numero d article",
        "numero article, identifiant, cle, codice, ean, gtin, barcode, upc, asin, mpn, code, nummer, no, nr",
    ),
    "end_seconds": _names(
        "end seconds, seconds, duration, duration s, duration seconds, video length, length seconds, secs, sec, s",
        "sekunden, dauer, dauer s, lange in sekunden, laufzeit, segundos, duracion, duracion s, secondes",
        "duree, duree s, sek, seg, length s, length in s, time s, lange s, lange in s, zeit s, longueur s, temps s",
        "longitud s, tiempo s",
    ),
    "resolution": _names("resolution, quality, auflosung, qualitat, resolucion, calidad, definition, qualite"),
    "model": _names("model, ai model, video model, engine, modell, ki modell, modelo, modele, modele ia"),
    "audio": _names("audio, sound, with audio, with sound, ton, mit ton, sonido, con sonido, son, avec son"),
    "width": _names("width"),
    "height": _names("height"),
    "name": _names("name, video name, videoname, short name, kurzname, nombre corto, nombre, nom court, nom"),
}
"""Of our columns."""
TITLES = _names(
    "title, product title, product name, name, item name, post title",
    "titel, produktname, produkttitel, artikelname, artikelbezeichnung, bezeichnung, produkt",
    "titulo, nombre, nombre del producto, producto, titre, nom, nom du produit, designation, produit",
    "titolo, naam, product",
)
DESCRIPTIONS = _names(
    "short description, summary, kurzbeschreibung, zusammenfassung, descripcion corta, resumen, description courte",
    "resume, body html, description, beschreibung, descripcion, descripcion del producto",
    "produktbeschreibung, details",
)
POSITIONS = _names(
    "image position, position, bildnummer, image number, index, sort order, sortierung, orden, ordre, variant id",
    "variant, variante, size, grosse, talla, taille, colour, color, farbe, couleur, nr, no",
)
"""What tells lines apart that share a key."""
AVOID: Mapping[str, tuple[str, ...]] = {
    "image_path": _names(
        "additional, small, thumbnail, thumb, swatch, variant, alt, label, labels, second, back, end, last",
        "text, texts",
    ),
    "row_key": _names(
        "parent, group, brand, category, tax, set, color, colour, manufacturer, supplier, attribute, url"
    ),
    "name": _names("id, file, image, user, first, last"),
    "title": _names(
        "meta, seo, vendor, brand, category, option, attribute, manufacturer, image, file, alt, type, id"
    ),
    "description": _names("meta, seo, id, category, image"),
}
"""Words of a name that speak against it."""
